// A Socket.IO server of Node's with its Redis adapter, as their docs have it: a room for each job,
// and anybody may watch anything. Arguments: folder with node_modules, URL of Redis, port.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [folder, url, port] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { createAdapter } = require("@socket.io/redis-adapter");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");

const publisher = new Redis(url);
const subscriber = publisher.duplicate();
const http = createServer();
const server = new Server(http, { adapter: createAdapter(publisher, subscriber) });

server.of("/jobs").on("connection", (socket) => {
  socket.on("watch", async ({ job }, answer) => {
    await socket.join(`job:${job}`);
    answer({ ok: true });
  });
});

// The adapter's subscriptions were sent before these pings.
await Promise.all([publisher.ping(), subscriber.ping()]);
http.listen(Number(port), "127.0.0.1", 1024, () => console.log("serving on", port));
