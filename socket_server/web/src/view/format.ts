/** Formats numbers, durations and times for people. Pure; "" for anything but finite numbers. */
import { legible } from "../client/legible.js";
import type { Bar } from "../client/protocol.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const broken = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
/** Digits of a number that is shown as it is: fewer than a double has, whose last ones are noise. */
const DIGITS = 12;
const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: DIGITS });
const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];

type Maybe = number | null | undefined;

function finite(value: Maybe): value is number {
  return Number.isFinite(value);
}

/** For counts, which change: 1234567 → "1,234,567"; 12.345 → "12.35"; 0.00123 → "0.0012". */
export function number(value: Maybe): string {
  if (!finite(value)) return "";
  const size = Math.abs(value);
  return (size < 1 ? small : size < 100 ? broken : whole).format(value);
}

/** For values as they were given: 0.001 → "0.001"; 1e-9 → "1e-9"; 0.1 + 0.2 → "0.3". */
export function exact(value: Maybe): string {
  if (!finite(value)) return "";
  const size = Math.abs(value);
  if (size >= 1e21 || (size > 0 && size < 1e-6)) return String(Number(value.toPrecision(DIGITS)));
  return (Number.isInteger(value) ? whole : precise).format(value);
}

/** 1234567, "B" → "1.23 MB": three figures and an SI prefix, in steps of 1000. */
export function si(value: Maybe, unit = ""): string {
  if (!finite(value)) return "";
  let step = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && step < PREFIXES.length - 1) {
    scaled /= 1000;
    step += 1;
  }
  const size = Math.abs(scaled);
  const digits = step === 0 && Number.isInteger(scaled) ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return `${scaled.toFixed(digits)} ${PREFIXES[step]}${unit}`.trimEnd();
}

/** Seconds → "under 0.1 s", "0.4 s", "42 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(seconds: Maybe, { tenths = false } = {}): string {
  if (!finite(seconds)) return "";
  const exact = Math.max(0, seconds);
  if (tenths && exact < 0.1) return "under 0.1 s";
  if (tenths && exact < 9.95) return `${exact.toFixed(1)} s`;
  const total = Math.round(exact);
  const [d, h] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24];
  const [min, s] = [Math.floor(total / 60) % 60, total % 60];
  if (d) return pair(d, "d", h, "h");
  if (h) return pair(h, "h", min, "min");
  return min ? pair(min, "min", s, "s") : `${s} s`;
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

/** Seconds since the epoch → "14:03:07" in the reader's time zone, with the date if not today. */
export function clock(at: Maybe, now = Date.now() / 1000): string {
  if (!finite(at)) return "";
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString("en-GB");
  if (then.toDateString() === new Date(now * 1000).toDateString()) return time;
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}

// A total of 0 is one that is not known: of work that has not been counted yet, or has no size.
function known(total: Maybe): total is number {
  return finite(total) && total > 0;
}

/** Share of a bar that is done, 0 to 1; null when its total is not known, or 0. */
export function fraction({ n, total }: Pick<Bar, "n" | "total">): number | null {
  return known(total) && finite(n) ? Math.min(1, Math.max(0, n / total)) : null;
}

/** "45%": rounded down, so that 100% appears only when all is done. */
export function percent(share: number | null): string {
  return share === null ? "" : `${Math.floor(share * 100 + 1e-9)}%`;
}

function amount(bar: Bar, value: Maybe): string {
  return bar.unit_scale ? si(value, unitOf(bar)) : number(value);
}

function unitOf(bar: Bar): string {
  return typeof bar.unit === "string" ? legible(bar.unit) : "";
}

/** "1,234 / 5,000", "1.2 GB / 3.4 GB", or "1,234" without a total, or with one of 0. */
export function count(bar: Bar): string {
  const done = amount(bar, bar.n);
  return known(bar.total) ? `${done} / ${amount(bar, bar.total)}` : done;
}

/** "312 row/s", "52.3 MB/s", or below one a second "2.5 s/row". */
export function rate(bar: Bar): string {
  const unit = unitOf(bar) || "it";
  if (!finite(bar.rate) || bar.rate <= 0) return "";
  if (bar.unit_scale) return `${si(bar.rate, unit)}/s`;
  if (bar.rate < 1) return `${duration(1 / bar.rate, { tenths: true })}/${unit}`;
  return `${bar.rate < 10 ? bar.rate.toFixed(1) : whole.format(bar.rate)} ${unit}/s`;
}
