/** The parts of the service: breaker, stores, journal, workers, topic. */
import type { ComponentChildren } from 'preact';
import { Status } from '../parts/feedback.tsx';
import { Table } from '../parts/table.tsx';
import { bytes, counted, span } from '../parts/words.ts';
import type { NowAnswer } from '../../watch/answers.ts';

export function NowParts({ now: { breaker, stores, journal, workers, topic } }: { now: NowAnswer }) {
  return (
    <section class="panel" aria-label="Parts">
      <dl class="facts">
        {stores.map(({ name, connected }) => (
          <Fact key={name} name={name}>
            <Status tone={connected ? 'good' : 'bad'}>{connected ? 'answers' : 'does not answer'}</Status>
          </Fact>
        ))}
        <Fact name="Breaker">
          <Status tone={breaker === 'closed' ? 'good' : 'warn'}>{breaker ?? 'not known'}</Status>
        </Fact>
        <Fact name="Journal">
          {journal === null ? (
            <Status tone="calm">off</Status>
          ) : (
            <>
              <Status tone={journal.state === 'ok' ? 'good' : 'warn'}>{journal.state}</Status>{' '}
              <span class="quiet">
                {bytes(journal.bytes)} of {bytes(journal.max_bytes)}
              </span>
            </>
          )}
        </Fact>
        {topic !== null && (
          <Fact name={`Topic ${topic.name}`}>
            <Status tone={topic.connected ? 'good' : 'bad'}>{topic.connected ? 'answers' : 'does not answer'}</Status>
            {topic.reading && (
              <span class="quiet">
                {' '}
                {counted(topic.reading.partitions, 'partition')}, {counted(topic.reading.lag_records, 'record')} behind,
                the oldest for {span(topic.reading.lag_seconds)}
              </span>
            )}
          </Fact>
        )}
      </dl>
      {workers !== null && (
        <Table
          caption="Workers"
          rows={workers}
          keyOf={({ worker, pid }) => `${worker}-${pid}`}
          columns={[
            { title: 'Worker', cell: ({ worker }) => worker, isNumber: true },
            { title: 'Process', cell: ({ pid }) => pid ?? '–', isNumber: true },
            {
              title: 'State',
              cell: ({ state }) => <Status tone={state === 'listening' ? 'good' : 'warn'}>{state}</Status>,
            },
          ]}
        />
      )}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
