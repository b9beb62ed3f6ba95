/** Styles of steps, for pages that define the colours as custom properties. */
import { css } from "lit";

export const stepsStyle = css`
  .steps { list-style: none; margin: 0; padding: 0; display: grid; gap: .3rem; font-size: .88rem; }
  .steps .steps { margin-block-start: .3rem; padding-inline-start: .55rem; margin-inline-start: .45rem; border-inline-start: 1px solid var(--line); }
  .step-head { display: flex; align-items: baseline; gap: .5rem; min-width: 0; }
  .step-name { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: isolate; }
  .step-took { margin-inline-start: auto; flex: none; color: var(--quiet); font-variant-numeric: tabular-nums; }
  .step-mark { flex: none; width: .9rem; text-align: center; color: var(--quiet); }
  .step-mark::before { content: "–"; }
  .step[data-state="succeeded"] > .step-head > .step-mark, .step[data-state="succeeded"] > details > .step-head > .step-mark { color: var(--good); }
  .step[data-state="succeeded"] > .step-head > .step-mark::before, .step[data-state="succeeded"] > details > .step-head > .step-mark::before { content: "✓"; }
  :is([data-state="failed"], [data-state="lost"]) > .step-head :is(.step-mark, .step-took) { color: var(--bad); }
  [data-state="failed"] > .step-head > .step-mark::before { content: "✗"; }
  [data-state="lost"] > .step-head > .step-mark::before { content: "?"; }
  [data-state="running"] > .step-head > .step-mark::before {
    content: "";
    display: inline-block;
    width: .55rem;
    height: .55rem;
    border-radius: 50%;
    background: var(--accent);
    animation: beat 1.2s ease-in-out infinite alternate;
  }
  .step > .bar, .step > details > .bar { margin: .2rem 0 .2rem 1.4rem; }
  .step[data-state="succeeded"] > .bar .fill, .step[data-state="succeeded"] > details > .bar .fill { background: var(--good); }
  .step summary.step-head { cursor: pointer; }
  .step summary.step-head::after { content: "▸"; order: 1; color: var(--quiet); font-size: .75em; }
  .step [open] > summary.step-head::after { content: "▾"; }
  .step summary.step-head::-webkit-details-marker { display: none; }
  .early-steps > summary { cursor: pointer; color: var(--quiet); font-size: .88rem; }
  .early-steps > .steps { margin-block: .3rem; }
  .step .early-steps > summary { margin-inline-start: .45rem; }
  @keyframes beat {
    to { opacity: .35; }
  }
  @media (prefers-reduced-motion: reduce) {
    .step-mark::before { animation: none !important; }
  }
  @media (forced-colors: active) {
    [data-state="running"] > .step-head > .step-mark::before { background: Highlight; forced-color-adjust: none; }
  }
`;
