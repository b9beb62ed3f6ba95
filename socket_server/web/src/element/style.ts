import { css } from "lit";

export const elementStyle = css`
  :host {
    display: block;
    color-scheme: light dark;
    --text: var(--job-progress-text, light-dark(#1b222c, #e5e9ef));
    --quiet: var(--job-progress-quiet, light-dark(#5b6675, #9aa6b5));
    --track: var(--job-progress-track, light-dark(#e1e5eb, #2d3641));
    --line: var(--track);
    --accent: var(--job-progress-accent, light-dark(#2563c9, #6aa3f8));
    --good: var(--job-progress-good, light-dark(#1a7f4b, #5cc48c));
    --bad: var(--job-progress-bad, light-dark(#b3261e, #f2877f));
    --warn: var(--job-progress-warn, light-dark(#8a5a00, #e2b04f));
    color: var(--text);
    font: 1rem/1.5 var(--job-progress-font, system-ui, sans-serif);
  }
  :host([hidden]) { display: none; }
  .job { display: grid; gap: .4rem; }
  .head { display: flex; align-items: baseline; flex-wrap: wrap; gap: .25rem .75rem; font-size: .9rem; }
  .name { font-weight: 600; overflow-wrap: anywhere; }
  .state { color: var(--quiet); }
  [data-state="succeeded"] .state { color: var(--good); }
  :is([data-state="failed"], [data-state="lost"]) .state { color: var(--bad); }
  :is([data-state="retrying"], [data-state="cancelling"]) .state { color: var(--warn); }
  .time { color: var(--quiet); margin-inline-end: auto; font-variant-numeric: tabular-nums; }
  .away :is(.bars, .steps) { opacity: .55; }
  .away .fill { animation-play-state: paused; }
  p { margin: 0; font-size: .88rem; overflow-wrap: anywhere; }
  .error { color: var(--bad); white-space: pre-wrap; }
  :is(.note, .more) { color: var(--quiet); }
  .log {
    margin: 0;
    padding: 0;
    list-style: none;
    font: .8rem/1.5 var(--job-progress-mono, ui-monospace, Menlo, Consolas, monospace);
    color: var(--quiet);
  }
  .log li { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: plaintext; }
  button {
    font: inherit;
    color: inherit;
    padding: .1rem .7rem;
    border: 1px solid var(--quiet);
    border-radius: 6px;
    background: transparent;
    cursor: pointer;
  }
  button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  button:disabled { opacity: .6; cursor: default; }
  .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
