/**
 * The event store of a process that stores no events (`WEIR_ROLE=ingest`): nothing is inserted, nothing can be read, and
 * there is nothing to wait for.
 */
import { InsertFailure } from '../pipeline/ports.ts';
import { ReadFailure, type QueryFailure } from '../pipeline/read-ports.ts';
import type { EventStorage, QueryLimits } from '../pipeline/storage-port.ts';

const WHERE = 'this process has no event store (WEIR_ROLE=ingest): ask one that inserts';
const UNAVAILABLE: QueryFailure = { kind: 'unavailable', isForOperator: false, error: null, message: WHERE };
/** Of nothing. */
const NO_QUERIES: QueryLimits = { maxExecutionS: 1, maxRows: 1, maxResultBytes: 1 };

export function openNoEventStore(name: EventStorage['name']): EventStorage {
  return {
    name,
    events: {
      insert: refuse,
      dryRun: refuse,
      inspect: refuse,
      findStored: refuse,
      countInserts: refuse,
      readMemory: refuse,
    },
    schema: {
      rebuild: {
        read: async () => ({ state: { kind: 'done' }, next: 'none' }),
        take: async () => ({ kind: 'done' }),
      },
      migrate: async () => [],
      check: async () => [],
      explain: () => WHERE,
    },
    upkeep: { doSome: async () => 0, neglected: WHERE },
    isAnswering: async () => true,
    connectTrouble: () => null,
    notices: () => [],
    foreignViewFailures: () => new Map(),
    openReading: () => ({
      countEvents: async () => {
        throw new ReadFailure(WHERE, { kind: 'unavailable' });
      },
      projectReader: {
        query: async () => UNAVAILABLE,
        stopped: async () => {},
        schema: async () => UNAVAILABLE,
      },
      queryLimits: NO_QUERIES,
    }),
    close: async () => {},
  };
}

async function refuse(): Promise<never> {
  throw new InsertFailure(WHERE, { failureClass: 'unavailable' });
}
