/** What `<script type="module" src="https://…/static/job-progress.js">` loads. */
import { define, JobProgress } from "./job-progress.js";

// The server that gave out this script is the one to connect to, below the same path.
const { origin, pathname } = new URL(import.meta.url);
JobProgress.server = origin + (/^(.*)\/static\/[^/]*$/.exec(pathname)?.[1] ?? "");
define();
