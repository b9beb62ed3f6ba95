/** What `<script type="module" src="https://…/static/job-progress.js">` loads. */
import { define, JobProgress } from "./job-progress.js";

// The server that gave out this script is the one to connect to.
JobProgress.server = new URL(import.meta.url).origin;
define();
