/**
 * RFC 3339 times in UTC, from and to milliseconds since the Unix epoch, without `Date`: the rooms may not touch
 * the clock, and a lint that must tell `new Date(ms)` from `new Date()` is one that fails. Days and dates by
 * Howard Hinnant's civil algorithms.
 */
const DAY_MS = 86_400_000;

function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  };
}

function daysFromCivil(year: number, month: number, day: number): number {
  const shiftedYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

const pad = (value: number, width: number): string => String(value).padStart(width, '0');
const TWO_DIGITS = Array.from({ length: 100 }, (_, value) => pad(value, 2));
const two = (value: number): string => TWO_DIGITS[value] ?? String(value);

/** The day that was asked for last: most times of one answer are of one day. */
let known = { days: 0, text: '1970-01-01' };

function dayText(days: number): string {
  if (known.days !== days) {
    const { year, month, day } = civilFromDays(days);
    known = { days, text: `${pad(year, 4)}-${two(month)}-${two(day)}` };
  }
  return known.text;
}

/** `2026-11-21T10:00:00.000Z`. */
export function toRfc3339(ms: number): string {
  const whole = Math.floor(ms);
  const days = Math.floor(whole / DAY_MS);
  const rest = whole - days * DAY_MS;
  const hours = two(Math.floor(rest / 3_600_000));
  const minutes = two(Math.floor(rest / 60_000) % 60);
  const seconds = two(Math.floor(rest / 1_000) % 60);
  return `${dayText(days)}T${hours}:${minutes}:${seconds}.${pad(rest % 1_000, 3)}Z`;
}

/** Undefined when the text is not a full RFC 3339 time. */
export function parseRfc3339(text: string): number | undefined {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const days = daysFromCivil(year, month, day);
  const back = civilFromDays(days);
  const real = month >= 1 && month <= 12 && back.day === day && back.month === month;
  if (!real || hour > 23 || minute > 59 || second > 60) return undefined;
  const fraction = Math.floor(Number(match[7] ?? 0) * 1_000);
  const zone = match[8] ?? 'Z';
  const offsetMinutes =
    zone.toUpperCase() === 'Z'
      ? 0
      : (zone.startsWith('-') ? -1 : 1) *
        (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6)));
  return (
    days * DAY_MS + hour * 3_600_000 + (minute - offsetMinutes) * 60_000 + second * 1_000 + fraction
  );
}
