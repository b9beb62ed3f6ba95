/** Styles of bars, for the page and the element, which define the colours as custom properties. */
import { css } from "lit";

export const barsStyle = css`
  .bars { display: grid; gap: .5rem; --way: 1; }
  .bars:dir(rtl) { --way: -1; }
  .bars:empty { display: none; }
  .bar { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: .15rem 1rem; align-items: baseline; font-size: .88rem; }
  .what { display: flex; gap: .6rem; min-width: 0; }
  .desc { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; unicode-bidi: isolate; }
  .desc.whole { white-space: normal; overflow-wrap: anywhere; }
  .postfix { color: var(--quiet); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; flex: 1 1 4rem; unicode-bidi: isolate; }
  .numbers { color: var(--quiet); text-align: end; font-variant-numeric: tabular-nums; unicode-bidi: isolate; }
  .track { grid-column: 1 / -1; contain: strict; height: .5rem; border-radius: 99px; background: var(--track); overflow: hidden; }
  .bar[data-depth="1"] { margin-inline-start: 1rem; }
  .bar[data-depth="2"] { margin-inline-start: 2rem; }
  .bar[data-depth="3"] { margin-inline-start: 3rem; }
  .bar:not([data-depth="0"]) .track { height: .35rem; }
  .more { font-size: .88rem; color: var(--quiet); margin: 0; margin-inline-start: 1rem; }
  .fill {
    height: 100%;
    border-radius: 99px;
    background: var(--accent);
    transform: translateX(calc((var(--share, 0) - 1) * var(--way) * 100%));
    transition: transform .15s linear;
  }
  .fill.jump { transition: none; }
  [data-state="succeeded"] .fill { background: var(--good); }
  :is([data-state="failed"], [data-state="lost"]) .fill { background: var(--bad); }
  [data-state="cancelled"] .fill { background: var(--quiet); }
  [data-look="idle"] .fill { visibility: hidden; }
  [data-look="done"] .fill { transform: none; opacity: .45; }
  [data-look="unknown"] .fill { width: 30%; animation: slide 1.6s ease-in-out infinite alternate; }
  @keyframes slide {
    from { transform: translateX(0); }
    to { transform: translateX(calc(233.4% * var(--way))); }
  }
  @media (max-width: 36rem) {
    .bar { grid-template-columns: minmax(0, 1fr); }
    .numbers { text-align: start; font-size: .8rem; }
  }
  @media (prefers-reduced-motion: reduce) {
    .fill { transition: none; }
    [data-look="unknown"] .fill { animation: none; width: 100%; transform: none; opacity: .35; }
  }
  @media (forced-colors: active) {
    .track { border: 1px solid; }
    .fill { background: Highlight; forced-color-adjust: none; }
  }
`;
