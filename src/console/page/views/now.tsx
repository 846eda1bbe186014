/** How the service stands at this moment, and stood in the last hour. */
import { get } from '../parts/api.ts';
import { Problem, Status, type Tone, Waiting } from '../parts/feedback.tsx';
import { useLoaded } from '../parts/load.ts';
import { bytes, grouped, rate, span } from '../parts/words.ts';
import type { NowAnswer } from '../../watch/answers.ts';
import { Examination } from './examination.tsx';
import { LedgerPanel } from './ledger.tsx';
import { NowCurves } from './now-curves.tsx';
import { NowParts } from './now-parts.tsx';

const EVERY_MS = 1_000;
const PERCENT = 100;

const STATES: Readonly<Record<string, { tone: Tone; said: string }>> = {
  ok: { tone: 'good', said: 'Everything works' },
  degraded: { tone: 'warn', said: 'Not everything works' },
  down: { tone: 'bad', said: 'Events have no durable home' },
};

export function Now() {
  const { value, error } = useLoaded('now', (signal) => get<NowAnswer>('/now', {}, { signal }), { everyMs: EVERY_MS });
  return (
    <>
      <h1>Now</h1>
      <Problem error={error} />
      {value === null ? error === null && <Waiting what="Asking the service …" /> : <Standing now={value} />}
      <NowCurves />
      <LedgerPanel />
      <Examination />
    </>
  );
}

function Standing({ now }: { now: NowAnswer }) {
  const { tone, said } = STATES[now.health?.status ?? 'unknown'] ?? {
    tone: 'bad',
    said: 'The service does not answer',
  };
  return (
    <>
      <section class="panel" aria-label="Health">
        <p aria-live="polite">
          <Status tone={tone}>{said}</Status>
        </p>
        {now.reasons.length > 0 && (
          <ul class="reasons">
            {now.reasons.map(({ code, said, words, remedy }) => (
              <li key={code + said}>
                <p>
                  <b>{said}</b>
                </p>
                <p>{words}</p>
                <p class="quiet">{remedy}</p>
              </li>
            ))}
          </ul>
        )}
      </section>
      <dl class="grid" aria-label="Rates">
        <Figure name="Accepted" value={rate(now.rates.accepted)} unit="/s" />
        <Figure name="Stored" value={rate(now.rates.stored)} unit="/s" />
        <Figure name="Rejected" value={rate(now.rates.rejected)} unit="/s" />
        <Figure name="Dead-lettered" value={rate(now.rates.deadLettered)} unit="/s" />
        <Figure name="Half are stored within" value={latency(now.latency.p50)} />
        <Figure name="99 % are stored within" value={latency(now.latency.p99)} />
        {now.pending !== null && <Pending of={now.pending} />}
      </dl>
      <NowParts now={now} />
    </>
  );
}

function Pending({ of: { events, bytes: size, limitEvents, limitBytes } }: { of: NonNullable<NowAnswer['pending']> }) {
  return (
    <>
      <Figure
        name="Pending"
        value={grouped(events)}
        unit={`of ${grouped(limitEvents)} · ${share(events, limitEvents)}`}
      />
      <Figure name="Pending bytes" value={bytes(size)} unit={`of ${bytes(limitBytes)} · ${share(size, limitBytes)}`} />
    </>
  );
}

function Figure({ name, value, unit }: { name: string; value: string; unit?: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        {value} {unit && <small>{unit}</small>}
      </dd>
    </div>
  );
}

const MS = 1000;
const latency = (ms: number | null) => (ms === null ? '–' : span(ms / MS));
const share = (part: number, whole: number) => `${whole === 0 ? 0 : Math.round((PERCENT * part) / whole)} %`;
