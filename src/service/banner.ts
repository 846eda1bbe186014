import { resolve } from 'node:path';

export type BannerFacts = {
  readonly url: string;
  readonly dataDir: string;
  /** The public token of the demo project; null when operators manage the tokens. */
  readonly token: string | null;
  readonly isEmbedded: boolean;
  /** A link that signs in to the console, once, or its address; null where it is off. */
  readonly console: string | null;
};

/** What a person who typed `npm start` needs: lines that can be pasted as they are. */
export function banner({ url, dataDir, token, isEmbedded, console: link }: BannerFacts): string {
  const event = `{\\"events\\":[{\\"event\\":\\"hello\\",\\"user_id\\":\\"me\\",\\"timestamp\\":$(date +%s),\\"properties\\":{\\"from\\":\\"curl\\"}}]}`;
  const where = dataDir === '.weir' ? '' : `WEIR_DATA_DIR='${resolve(dataDir)}' `;
  return [
    '',
    `  Weir listens on ${url}`,
    '',
    '  Send an event:',
    `    curl '${url}/api/v1/ingest/events?wait=true' -H 'Authorization: Bearer ${token ?? '<token>'}' -d "${event}"`,
    ...(token === null
      ? ['    (make a token: npm run -s weir -- project create NAME, then token create --project ID)']
      : []),
    '',
    '  See it:',
    `    ${where}npm run -s weir -- query "SELECT received_at, event, distinct_id, properties FROM events ORDER BY received_at DESC LIMIT 5"`,
    '',
    ...(link === null
      ? []
      : [
          '  Watch it, and mend what went wrong, in the console:',
          `    ${link}`,
          `    (the link works once; another one: ${where}npm run -s weir -- console link)`,
          '',
        ]),
    isEmbedded
      ? `  Data is in ${resolve(dataDir)}. Delete that directory to start over.`
      : `  Local state is in ${resolve(dataDir)}.`,
    '  Ctrl-C stops everything.',
    '',
    '',
  ].join('\n');
}
