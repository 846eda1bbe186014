/** Events as they are accepted: a sample of them when they are many. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { session } from '../parts/api.ts';
import { after } from '../parts/clock.ts';
import { Nothing, Status } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { openLive } from '../parts/live.ts';
import { linkTo } from '../parts/route.ts';
import { Table } from '../parts/table.tsx';
import { grouped, instant } from '../parts/words.ts';
import type { LiveEvent, LiveRates } from '../parts/expected.ts';

/** More rows than a person reads; the page stays as quick as with one. */
const KEPT = 100;
/** How often the table changes: more often nobody could read it. */
const DRAWN_EVERY_MS = 250;

export type LiveFilter = {
  readonly project: string;
  readonly event: string;
  readonly id: string;
  readonly user: string;
};
const NONE: LiveFilter = { project: '', event: '', id: '', user: '' };

export function Live() {
  const [filter, setFilter] = useState(NONE);
  const [isPaused, setPaused] = useState(false);
  const { events, rates, isOpen } = useLive(filter, isPaused);
  return (
    <>
      <h1>Live</h1>
      <Filter apply={setFilter} />
      <div class="line">
        <button type="button" onClick={() => setPaused(!isPaused)}>
          {isPaused ? 'Go on' : 'Pause'}
        </button>
        <span role="status">
          <Status tone={isPaused ? 'calm' : isOpen ? 'good' : 'warn'}>
            {isPaused ? 'paused' : isOpen ? 'listening' : 'connecting'}
          </Status>
        </span>
        {rates && (
          <span class="quiet">
            {grouped(rates.shown)} of {grouped(rates.seen)} shown
          </span>
        )}
      </div>
      {events.length === 0 ? (
        <Nothing>Nothing has come since this page was opened.</Nothing>
      ) : (
        <Table
          caption="Events, newest first"
          rows={events}
          keyOf={({ id }, place) => `${id} ${place}`}
          columns={[
            { title: 'Accepted (UTC)', cell: ({ at }) => instant(at) },
            { title: 'Event', cell: ({ event }) => event },
            { title: 'User', cell: ({ distinctId }) => distinctId ?? '–' },
            {
              title: 'Id',
              cell: ({ id, projectId }) => (
                <a class="mono" href={linkTo(['find'], { id, project: projectId })}>
                  {id}
                </a>
              ),
            },
            { title: 'Answered', cell: ({ ack }) => ack },
            ...(session.value?.showsEvents
              ? [{ title: 'Properties', cell: ({ properties }: LiveEvent) => <code>{asText(properties)}</code> }]
              : []),
          ]}
        />
      )}
    </>
  );
}

const asText = (properties: unknown) =>
  properties === undefined ? '–' : typeof properties === 'string' ? properties : JSON.stringify(properties);

function useLive(filter: LiveFilter, isPaused: boolean) {
  const [events, setEvents] = useState<readonly LiveEvent[]>([]);
  const [rates, setRates] = useState<LiveRates | null>(null);
  const [isOpen, setOpen] = useState(false);
  const arrived = useRef<readonly LiveEvent[]>([]);
  useEffect(() => {
    if (isPaused) return;
    let cancel: (() => void) | null = null;
    const draw = () => {
      cancel = null;
      const fresh = arrived.current;
      arrived.current = [];
      setEvents((last) => [...fresh, ...last].slice(0, KEPT));
    };
    const close = openLive(filter, {
      onEvents: (batch) => {
        arrived.current = [...batch.toReversed(), ...arrived.current].slice(0, KEPT);
        cancel ??= after(DRAWN_EVERY_MS, draw);
      },
      onRates: setRates,
      onState: setOpen,
    });
    return () => {
      close();
      cancel?.();
      setOpen(false);
    };
  }, [filter, isPaused]);
  useEffect(() => setEvents([]), [filter]);
  return { events, rates, isOpen };
}

function Filter({ apply }: { apply: (filter: LiveFilter) => void }) {
  const [filter, setFilter] = useState(NONE);
  const field = (name: keyof LiveFilter, label: string) => (
    <Field label={label} value={filter[name]} change={(value) => setFilter({ ...filter, [name]: value.trim() })} />
  );
  return (
    <form
      class="line"
      onSubmit={(event) => {
        event.preventDefault();
        apply(filter);
      }}
    >
      {field('event', 'Event name')}
      {field('user', 'User')}
      {field('id', 'Event id')}
      {field('project', 'Project id')}
      <button type="submit">Filter</button>
    </form>
  );
}
