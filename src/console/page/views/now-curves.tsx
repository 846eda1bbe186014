/** The last hour in curves. */
import { useState } from 'preact/hooks';
import { get } from '../parts/api.ts';
import { Chart } from '../parts/chart.tsx';
import { Choice } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { rate, short, span } from '../parts/words.ts';
import type { Series } from '../../watch/answers.ts';

const EVERY_MS = 5_000;
const MS = 1000;
const SPANS = [
  { value: '300', text: '5 minutes' },
  { value: '900', text: '15 minutes' },
  { value: '3600', text: 'an hour' },
];

export function NowCurves() {
  const [seconds, setSeconds] = useState('900');
  const { value } = useLoaded(seconds, (signal) => get<Series>('/now/series', { seconds }, { signal }), {
    everyMs: EVERY_MS,
  });
  if (value === null) return null;
  const curve = (name: string, column: Exclude<keyof Series, 'at'>) => ({ name, values: value[column] });
  const times = value.at.map((ms) => ms / MS);
  return (
    <section class="panel" aria-label="The last hour">
      <Choice label="Shown" value={seconds} options={SPANS} change={setSeconds} />
      <div class="pair">
        <Chart
          title="Events per second"
          times={times}
          curves={[curve('accepted', 'accepted'), curve('stored', 'stored')]}
          show={rate}
        />
        <Chart
          title="Not stored, per second"
          times={times}
          curves={[curve('rejected', 'rejected'), curve('dead-lettered', 'deadLettered')]}
          show={rate}
        />
        <Chart
          title="From accepted to stored"
          times={times}
          curves={[curve('half of them', 'p50'), curve('99 of 100', 'p99')]}
          show={(ms) => span(ms / MS)}
        />
        <Chart title="Pending events" times={times} curves={[curve('pending', 'pendingEvents')]} show={short} />
      </div>
    </section>
  );
}
