/** Curves over time. What they show stands beside them in words, for those who cannot see them. */
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { Curve } from './curve.ts';
import { instant } from './words.ts';

const HEIGHT = 180;
const DARK = '(prefers-color-scheme: dark)';

/** `times` are epoch seconds; `show` says a value in words. At most four curves. */
export function Chart({
  title,
  times,
  curves,
  show,
}: {
  title: string;
  times: readonly number[];
  curves: readonly Curve[];
  show: (value: number) => string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLUListElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isDark = useIsDark();
  const names = curves.map(({ name }) => name).join('\n');
  const data = [times, ...curves.map(({ values }) => values)] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;
  const shown = useRef(show);
  shown.current = show;

  useEffect(() => {
    const element = place.current!;
    const colours = [...legend.current!.querySelectorAll('svg')].map((mark) => getComputedStyle(mark).color);
    const { color: text, borderTopColor: line } = getComputedStyle(element);
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const made = new uPlot(
      {
        width: Math.max(1, element.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        tzDate: (at) => uPlot.tzDate(new Date(at * MS), 'Etc/UTC'),
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { y: { range: (_, _low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [
          { ...axis, space: 90, values: (_, marks, _at, _space, step) => marks.map((at) => timeOf(at, step)) },
          { ...axis, size: 64, values: (_, marks) => marks.map((value) => shown.current(value)) },
        ],
        series: [
          {},
          ...names
            .split('\n')
            .map((label, at) => ({ label, stroke: colours[at] ?? text, width: 1.5, spanGaps: false })),
        ],
      },
      latest.current,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: Math.max(1, element.clientWidth), height: HEIGHT }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, isDark]);
  useEffect(() => plot.current?.setData(data), [data]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} class="curve" aria-hidden="true" />
      <ul ref={legend} class="legend" aria-label={`${title}: the latest values`}>
        {curves.map(({ name, values }, at) => (
          <li key={name}>
            <svg class={`curve-${at + 1}`} width="18" height="10" aria-hidden="true">
              <line x1="0" y1="5" x2="18" y2="5" stroke="currentColor" stroke-width="3" />
            </svg>{' '}
            {name} <b>{said(values.at(-1), show)}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

const MS = 1000;
const MINUTE = 60;
const DAY = 86_400;

/** As much of a time in UTC as marks that are `step` seconds apart need. */
function timeOf(at: number, step: number): string {
  const [day = '', time = ''] = instant(at * MS).split(' ');
  if (step >= DAY) return day;
  return step >= MINUTE ? time.slice(0, 5) : time.slice(0, 8);
}

const said = (value: number | null | undefined, show: (value: number) => string) =>
  value === null || value === undefined ? '–' : show(value);

function useIsDark(): boolean {
  const [isDark, setDark] = useState(() => matchMedia(DARK).matches);
  useEffect(() => {
    const media = matchMedia(DARK);
    const changed = () => setDark(media.matches);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  return isDark;
}
