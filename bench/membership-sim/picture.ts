/** Curves as SVG, drawn by hand: no library, the same bytes for the same numbers. */

export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Picture {
  readonly title: string;
  readonly x: { readonly label: string; readonly isLog: boolean };
  readonly y: { readonly label: string; readonly isLog: boolean };
  readonly curves: readonly Curve[];
}

const WIDTH = 640;
const HEIGHT = 400;
const LEFT = 70;
const RIGHT = 20;
const TOP = 44;
const BOTTOM = 76;
const COLORS = ['#1f5fa8', '#b5482a', '#3d7d3a', '#7b4a9e', '#8a6d1d'];

interface Axis {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

function axis(values: readonly number[], isLog: boolean, from: number, to: number): Axis {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (isLog) {
    const first = Math.floor(Math.log10(Math.max(low, 1e-3)));
    const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(high, 1e-3))));
    const at = (value: number) =>
      from + ((Math.log10(Math.max(value, 1e-3)) - first) / (last - first)) * (to - from);
    return { at, ticks: Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i)) };
  }
  const step = 10 ** Math.floor(Math.log10(Math.max(high, 1e-9)));
  const top = Math.ceil(high / step) * step;
  const at = (value: number) => from + (value / top) * (to - from);
  return { at, ticks: Array.from({ length: 6 }, (_, i) => (top * i) / 5) };
}

const number = (value: number): string => String(Number(value.toPrecision(3)));
const px = (value: number): string => value.toFixed(1);
const escaped = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

export function drawn({ title, x, y, curves }: Picture): string {
  const all = curves.flatMap(({ points }) => points);
  const xAxis = axis(
    all.map(([value]) => value),
    x.isLog,
    LEFT,
    WIDTH - RIGHT,
  );
  const yAxis = axis(
    all.map(([, value]) => value),
    y.isLog,
    HEIGHT - BOTTOM,
    TOP,
  );
  const lines: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="22" font-size="15">${escaped(title)}</text>`,
  ];
  for (const tick of xAxis.ticks) {
    const at = px(xAxis.at(tick));
    lines.push(`<path d="M${at} ${TOP}V${HEIGHT - BOTTOM}" stroke="#e4e4e4"/>`);
    const text = `<text x="${at}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">`;
    lines.push(`${text}${number(tick)}</text>`);
  }
  for (const tick of yAxis.ticks) {
    const at = px(yAxis.at(tick));
    lines.push(`<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="#e4e4e4"/>`);
    lines.push(`<text x="${LEFT - 6}" y="${at}" dy="4" text-anchor="end">${number(tick)}</text>`);
  }
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  lines.push(
    `<text x="${middle}" y="${HEIGHT - BOTTOM + 34}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text transform="translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>`,
  );
  curves.forEach(({ name, points }, i) => {
    const color = COLORS[i % COLORS.length];
    const path = points.map(([a, b]) => `${px(xAxis.at(a))} ${px(yAxis.at(b))}`).join('L');
    lines.push(`<path d="M${path}" fill="none" stroke="${color}" stroke-width="2"/>`);
    if (points.length <= 12)
      for (const [a, b] of points)
        lines.push(
          `<circle cx="${px(xAxis.at(a))}" cy="${px(yAxis.at(b))}" r="3" fill="${color}"/>`,
        );
    const at = LEFT + (i * (WIDTH - LEFT - RIGHT)) / curves.length;
    lines.push(`<rect x="${px(at)}" y="${HEIGHT - 22}" width="12" height="4" fill="${color}"/>`);
    lines.push(`<text x="${px(at + 18)}" y="${HEIGHT - 16}">${escaped(name)}</text>`);
  });
  return `${lines.join('\n')}\n</svg>\n`;
}
