/** `import "taskbridge-client/element"` defines `<job-progress>`. */
import { define, JobProgress } from "./job-progress.js";

define();
export { define, JobProgress };
