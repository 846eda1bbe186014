/** Intake and drain: how they stand, and turning them. */
import { useState } from 'preact/hooks';
import { get, put } from './parts/api.ts';
import { Confirm } from './parts/dialog.tsx';
import { Status } from './parts/feedback.tsx';
import { useLoaded } from './parts/load.ts';
import { mayChange } from './parts/session.ts';

const EVERY_MS = 10_000;

type Position = { readonly said: string; readonly other: string; readonly act: string; readonly means: string };
type Switch = {
  readonly path: string;
  readonly name: string;
  /** The position in which Weir does its work. */
  readonly usual: string;
  readonly positions: Readonly<Record<string, Position>>;
};

const INTAKE: Switch = {
  path: '/intake',
  name: 'Intake',
  usual: 'open',
  positions: {
    open: {
      said: 'open',
      other: 'disabled',
      act: 'Close intake',
      means:
        'Within five seconds every process answers new events with 503 ingest_disabled. Clients that keep events send them later; others lose them. What was accepted is stored all the same.',
    },
    disabled: {
      said: 'closed',
      other: 'open',
      act: 'Open intake',
      means: 'Within five seconds every process takes events in again.',
    },
  },
};

const DRAIN: Switch = {
  path: '/drain',
  name: 'Drain',
  usual: 'running',
  positions: {
    running: {
      said: 'running',
      other: 'paused',
      act: 'Pause drain',
      means:
        'Within five seconds no process replays dead letters any more. They stay where they are, and new ones join them.',
    },
    paused: {
      said: 'paused',
      other: 'running',
      act: 'Resume drain',
      means: 'Within five seconds dead letters that are due are replayed again.',
    },
  },
};

export function Switches() {
  return (
    <>
      <SwitchView of={INTAKE} />
      <SwitchView of={DRAIN} />
    </>
  );
}

/** `INGEST_DISABLED`: of intake, whether this service is closed by that setting, however the switch stands. */
type Stand = { readonly position: string; readonly INGEST_DISABLED?: boolean };

/** `isOld`: it could not be asked again. */
function How({ stand, said, usual, isOld }: { stand: Stand; said: string; usual: string; isOld: boolean }) {
  if (isOld) return <Status tone="calm">{said}, when it was last known</Status>;
  if (stand.INGEST_DISABLED) return <Status tone="warn">closed by INGEST_DISABLED</Status>;
  return <Status tone={stand.position === usual ? 'good' : 'warn'}>{said}</Status>;
}

function SwitchView({ of: { path, name, usual, positions } }: { of: Switch }) {
  const { value, error, reload } = useLoaded(path, (signal) => get<Stand>(path, {}, { signal }), {
    everyMs: EVERY_MS,
  });
  // As it stood when the question was asked: it must not turn into its opposite while somebody reads it.
  const [asked, setAsked] = useState<Position | null>(null);
  const position = value === null ? undefined : positions[value.position];
  if (position === undefined) {
    return (
      <span>
        {name} <Status tone="calm">{error === null ? 'asked for' : 'unknown'}</Status>
      </span>
    );
  }
  const change = async ({ other }: Position) => {
    await put(path, { position: other });
    reload();
  };
  return (
    <span>
      {name} <How stand={value!} said={position.said} usual={usual} isOld={error !== null} />
      {mayChange() && (
        <button type="button" class="small" onClick={() => setAsked(position)}>
          {position.act} …
        </button>
      )}
      {asked !== null && (
        <Confirm
          title={`${asked.act}?`}
          act={asked.act}
          run={() => change(asked)}
          close={() => setAsked(null)}
          isDangerous={asked === positions[usual]}
        >
          <p>{asked.means}</p>
        </Confirm>
      )}
    </span>
  );
}
