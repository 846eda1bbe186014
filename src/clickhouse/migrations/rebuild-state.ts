/** What ClickHouse has of a rebuild, and which step comes next: whatever was cut short goes on from what there is. */
import { NEW_KEY, OLD_KEY } from './event-tables.ts';
import type { Cursor } from './chunks.ts';

/** `copy`: all there was into the new table. `check`: what is missing there. `settle`: the same after the exchange. */
export type Phase = 'copy' | 'check' | 'settle';

export type ProgressRow = {
  readonly phase: Phase;
  readonly isEnded: boolean;
  readonly cursor: Cursor | null;
  /** Rows the walk of this phase has passed, of how many about. */
  readonly rows: number;
  readonly total: number;
};

export type EventTable = {
  readonly uuid: string;
  readonly engine: string;
  readonly sortingKey: string;
  readonly primaryKey: string;
  /** Everything behind the name in its CREATE statement, and the part of it that is the engine's. */
  readonly create: string;
  readonly engineFull: string;
};

export type Situation = {
  readonly events: EventTable | null;
  readonly rebuilt: EventTable | null;
  readonly retired: EventTable | null;
  readonly hasMirror: boolean;
  /** Whether there is a table that only the rebuild needs. */
  readonly hasRemains: boolean;
  readonly progress: ProgressRow | null;
};

/** `tables`: changes which tables there are; only under the migration lock. `rows`: moves rows; only under that of the rebuild. */
export type Step =
  | { readonly kind: 'none' }
  | { readonly kind: 'blocked'; readonly why: string }
  | {
      readonly kind: 'tables';
      readonly do:
        | 'begin'
        | 'start over'
        | 'mirror'
        | 'check'
        | 'exchange'
        | 'note exchange'
        | 'drop mirror'
        | 'retire'
        | 'drop retired'
        | 'tidy';
    }
  | { readonly kind: 'rows'; readonly phase: Phase; readonly cursor: Cursor | null; readonly rows: number };

const tables = (what: Extract<Step, { kind: 'tables' }>['do']): Step => ({ kind: 'tables', do: what });
const blocked = (why: string): Step => ({ kind: 'blocked', why });

/** The one step that brings the rebuild on from here. */
export function nextStep(situation: Situation): Step {
  const { events, rebuilt, retired, hasMirror, hasRemains } = situation;
  if (events === null) return { kind: 'none' };
  if (retired !== null) {
    // Whichever key it has, the events have the other one: it is not the only table of its kind.
    if (retired.sortingKey !== events.sortingKey) return tables('drop retired');
    return blocked('events_raw_v1_retired is there and has the key of events_raw_v1: look what it holds, and drop it');
  }
  if (events.sortingKey === NEW_KEY) {
    if (rebuilt !== null) return afterExchange(situation);
    return hasMirror || hasRemains ? tables('tidy') : { kind: 'none' };
  }
  if (events.sortingKey !== OLD_KEY) {
    return blocked(`it is sorted by (${events.sortingKey}), which is not Weir's doing`);
  }
  return rebuilt === null ? beforeBeginning(situation) : beforeExchange(situation);
}

function beforeBeginning({ events, hasMirror }: Situation): Step {
  if (events!.primaryKey !== events!.sortingKey) return blocked('it has a primary key of its own');
  // A view into nothing keeps inserts out.
  return hasMirror ? tables('drop mirror') : tables('begin');
}

function beforeExchange({ events, rebuilt, hasMirror, progress }: Situation): Step {
  if (rebuilt!.sortingKey !== NEW_KEY) return blocked(`events_raw_v1_rekeyed is sorted by (${rebuilt!.sortingKey})`);
  if (!areAlike(events!, rebuilt!)) return tables('start over');
  if (!hasMirror || progress === null) return tables('mirror');
  // What a kill left of an exchange that was taken back.
  if (progress.phase === 'settle') return tables('check');
  if (!progress.isEnded) return rowsOf(progress);
  return progress.phase === 'copy' ? tables('check') : tables('exchange');
}

function afterExchange({ rebuilt, hasMirror, progress }: Situation): Step {
  if (rebuilt!.sortingKey !== OLD_KEY) return blocked('events_raw_v1_rekeyed has the key of events_raw_v1: drop it');
  if (progress?.phase !== 'settle') return tables('note exchange');
  if (hasMirror) return tables('drop mirror');
  return progress.isEnded ? tables('retire') : rowsOf(progress);
}

const rowsOf = ({ phase, cursor, rows }: ProgressRow): Step => ({ kind: 'rows', phase, cursor, rows });

/** The CREATE statement of the table under the new key, behind its name. */
export function createRebuilt({ create, engineFull }: EventTable): string {
  const at = create.lastIndexOf(engineFull);
  const engine = engineFull.replace(`ORDER BY (${OLD_KEY})`, () => `ORDER BY (${NEW_KEY})`);
  return create.slice(0, at) + engine + create.slice(at + engineFull.length);
}

/** A migration, or an operator, may have changed the one since the other was made. */
const areAlike = (events: EventTable, rebuilt: EventTable) => createRebuilt(events) === rebuilt.create;
