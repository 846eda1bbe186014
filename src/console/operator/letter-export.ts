/** Downloading dead letters as the file that `weir dlq import` puts back. */
import * as v from 'valibot';
import { type ExportedDeadLetter, exportDeadLetters } from '../../operations/export-dead-letters.ts';
import { OperationRefused } from '../../operations/refused.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { refuse } from '../refusals.ts';
import { cutOff } from './cut-off.ts';
import { Group, Uuid, Yes } from './fields.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { type OperatorRoute, rawRoute } from './route.ts';
import * as schemas from './schemas.ts';

const NDJSON = 'application/x-ndjson';

export function exportRoute({ db, log }: OperatorDeps): OperatorRoute {
  return rawRoute({
    method: 'GET',
    path: '/letters/export',
    tag: 'Dead letters',
    summary: 'Download dead letters, each row exactly as it is stored.',
    description:
      'As `weir dlq export`: the file can be put back with `weir dlq import`. Only for whoever may see the contents of events. A download that breaks off is not complete.',
    query: v.strictObject({
      ids: v.optional(v.pipe(v.string(), v.maxLength(40_000))),
      group: v.optional(Group),
      project: v.optional(Uuid),
      quarantined: Yes,
      all: Yes,
    }),
    answers: { 200: { description: 'Newline-delimited JSON.', mediaType: NDJSON } },
    refusals: ['forbidden', 'not_found'],
    async answer({ c, query, operator }) {
      if (!operator.showsEvents) {
        const message = 'the file holds the values of events, which are hidden from you (CONSOLE_SHOW_EVENTS)';
        return refuse(c, { refused: 'forbidden', message });
      }
      const letters = exportDeadLetters(db, { selection: exportedIn(query), rowsOnly: false });
      // The first letter, or the refusal, comes before the headers.
      const first = await letters.next();
      const stream = chunksOf(letters, first, {
        onDamaged: (letter) => log.warn({ letter }, 'a damaged dead letter was left out of an export'),
        onBroken(err) {
          log.warn({ err, requestId: c.get('requestId') }, 'an export of dead letters broke off');
          cutOff(c);
        },
      });
      c.header('Content-Disposition', 'attachment; filename="letters.ndjson"');
      return c.body(stream, 200, { 'Content-Type': NDJSON });
    },
  });
}

type Exported = AsyncGenerator<ExportedDeadLetter, void>;

/** Reads no letter before the client has taken the one before. */
function chunksOf(
  letters: Exported,
  first: IteratorResult<ExportedDeadLetter, void>,
  { onDamaged, onBroken }: { onDamaged: (id: string) => void; onBroken: (error: unknown) => void },
): ReadableStream<Uint8Array> {
  let next: typeof first | null = first;
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          for (;;) {
            const { done, value } = next ?? (await letters.next());
            next = null;
            if (done) return controller.close();
            if (value.bytes !== null) return controller.enqueue(value.bytes);
            onDamaged(value.id);
          }
        } catch (error) {
          onBroken(error);
          controller.close();
        }
      },
      cancel: async () => void (await letters.return()),
    },
    { highWaterMark: 0 },
  );
}

type ExportQuery = {
  ids?: string | undefined;
  group?: string | undefined;
  project?: string | undefined;
  quarantined: string;
  all: string;
};

function exportedIn({ ids, group, project, quarantined, all }: ExportQuery): Selection {
  const given = [
    ...(ids === undefined ? [] : [{ by: 'ids', ids: ids.split(',') }]),
    ...(group === undefined ? [] : [{ by: 'group', group }]),
    ...(project === undefined ? [] : [{ by: 'project', projectId: project }]),
    ...(quarantined === 'true' ? [{ by: 'quarantined' }] : []),
    ...(all === 'true' ? [{ by: 'all' }] : []),
  ];
  const parsed = v.safeParse(schemas.LetterSelection, given[0]);
  if (given.length === 1 && parsed.success) return parsed.output;
  throw new OperationRefused(
    'invalid',
    'Say which letters in exactly one way: ids, group, project, quarantined=true or all=true.',
  );
}
