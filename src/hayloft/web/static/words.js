// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en");
const dayTime = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export const count = (number) => whole.format(number);

/** `1 photo`, `2,000 photos`. */
export const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;

/** Bytes in powers of 1000, as file managers show them. */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit += 1) number /= 1000;
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

export const time = (iso) => (iso ? dayTime.format(new Date(iso)) : "unknown");

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;
