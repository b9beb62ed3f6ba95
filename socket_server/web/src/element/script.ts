/** The script `/static/job-progress.js`, which defines the element. */
import { define, JobProgress } from "./job-progress.js";

// Elements connect to the server that this script was loaded from, with the same path prefix.
const { origin, pathname } = new URL(import.meta.url);
JobProgress.server = origin + (/^(.*)\/static\/[^/]*$/.exec(pathname)?.[1] ?? "");
define();
