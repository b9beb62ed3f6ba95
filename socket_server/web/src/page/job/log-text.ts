/** Reads a job's whole log, to show it and to save it. */
import type { Api } from "../api.js";
import { TextLines } from "./log-lines.js";

/** Bytes of a log that are read without being asked for, and that are read at most. */
export const [AT_ONCE, MOST] = [4 * 2 ** 20, 256 * 2 ** 20];

function pathOf(job: string): string {
  return `api/jobs/${encodeURIComponent(job)}/log`;
}

/** Read a log's lines, up to so many bytes; returns whether that was all of it. Rejects as `Api.get`. */
export async function readLog(
  api: Api,
  job: string,
  most: number,
  signal: AbortSignal,
): Promise<{ text: TextLines; whole: boolean }> {
  const answer = await api.get(pathOf(job), {}, signal);
  const reader = answer.body?.getReader();
  const decoder = new TextDecoder();
  const text = new TextLines();
  let size = 0;
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
    text.add(decoder.decode(piece.value, { stream: true }));
    size += piece.value.length;
    if (size < most) continue;
    await reader?.cancel();
    return { text, whole: false };
  }
  text.add(decoder.decode());
  text.end();
  return { text, whole: true };
}

/** Save a log as a file, byte for byte as the server sends it. Rejects as `Api.get`. */
export async function saveLog(api: Api, job: string, name: string): Promise<void> {
  const answer = await api.get(pathOf(job));
  const file = await answer.blob().catch(() => {
    throw new Error("The download broke off: try again.");
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  // The browser has begun to save it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Name of the file for a log: of the task's name and the job's id what file systems take. */
export function fileName(title: string, job: string): string {
  const parts = [title, job.slice(0, 8)].map((part) => part.replaceAll(/[^\w.-]+/g, "_").replace(/^\.+/, ""));
  return `${parts.filter(Boolean).join("-").slice(0, 100)}.log`;
}
