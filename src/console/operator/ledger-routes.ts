/** Whether everything is as it should be: the ledger, and what `weir doctor` checks. */
import * as v from 'valibot';
import { readLedger } from '../../operations/examination/ledger.ts';
import { OperationRefused } from '../../operations/refused.ts';
import { createTurns } from '../../runtime/turns.ts';
import { Uuid } from './fields.ts';
import { type OperatorDeps, eventsOf } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

/** Each of them reads all events, or looks at everything: one at a time is enough for people. */
const TURNS = { maxAtOnce: 1, maxWaiting: 4 } as const;

export function ledgerRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, clock, kafka, metricsToken, serviceUrl } = deps;
  const turns = createTurns(TURNS);
  const tag = 'Ledger';

  return [
    route({
      method: 'GET',
      path: '/ledger',
      tag,
      summary: 'Count whether every accepted event is where it should be.',
      description:
        'Reads all events, which takes a while where there are many. Of one project only the stores are compared.',
      query: v.strictObject({ project: v.optional(Uuid) }),
      answer: schemas.Ledger,
      says: 'As `weir doctor --reconcile --json`.',
      refusals: ['store_unavailable', 'busy'],
      async handle({ c, query: { project: projectId = null } }) {
        const { operations: events } = eventsOf(deps);
        const question = { projectId, urls: [serviceUrl], metricsToken };
        return inTurn(c.req.raw.signal, () => readLedger({ db, events, clock, kafka }, question));
      },
    }),
    route({
      method: 'GET',
      path: '/doctor',
      tag,
      summary: 'Check everything around Weir.',
      answer: schemas.Doctor,
      says: 'As `weir doctor --json`.',
      refusals: ['busy'],
      handle: ({ c }) => inTurn(c.req.raw.signal, async () => ({ checks: [...(await deps.examine())] })),
    }),
  ];

  async function inTurn<T>(left: AbortSignal, work: () => Promise<T>): Promise<T> {
    if ((await turns.take(left)) !== 'taken') {
      throw new OperationRefused(
        'conflict',
        'Too many people ask for this at the moment: try again when they have their answers.',
      );
    }
    try {
      return await work();
    } finally {
      turns.pass();
    }
  }
}
