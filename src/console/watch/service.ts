/** The service as anybody sees it: its pages, over HTTP. */
import { Agent, get } from 'node:http';
import { text } from 'node:stream/consumers';

export type ServicePages = {
  /**
   * Both pages at one moment; `health` is null where it was not asked for. Throws where the service does not answer in
   * time, or not as it should.
   */
  read(
    what: { readonly withHealth: boolean },
    signal?: AbortSignal,
  ): Promise<{ readonly metrics: string; readonly health: unknown }>;
};

const WITHIN_MS = 5_000;
/** Without what is so of any process, which the console does not show. */
const METRICS = '/internal/metrics?process=false';

/** `url`: its base, of HTTP. `metricsToken`: null where the page of metrics asks for none. */
export function createServicePages({
  url,
  metricsToken,
}: {
  readonly url: string;
  readonly metricsToken: string | null;
}): ServicePages {
  const authorization = metricsToken === null ? {} : { Authorization: `Bearer ${metricsToken}` };
  // It is asked once a second: `fetch` would cost the machine several times as much.
  const agent = new Agent({ keepAlive: true });

  return {
    async read({ withHealth }, signal) {
      const cut = AbortSignal.any([AbortSignal.timeout(WITHIN_MS), ...(signal ? [signal] : [])]);
      const page = (path: string, headers: Record<string, string>) =>
        read(new URL(path, url), { headers, agent, signal: cut });
      const [metrics, health] = await Promise.all([
        page(METRICS, authorization),
        withHealth ? page('/health', {}) : null,
      ]);
      return { metrics, health: health === null ? null : (JSON.parse(health) as unknown) };
    },
  };
}

async function read(url: URL, options: { headers: Record<string, string>; agent: Agent; signal: AbortSignal }) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get(url, options, (answer) => {
    const { statusCode = 0 } = answer;
    // Also what is not wanted is read, so that the connection can be used again.
    text(answer).then((body) => {
      if (statusCode >= 200 && statusCode < 300) resolve(body);
      else reject(new Error(`the service answered ${url.pathname} with ${statusCode}`));
    }, reject);
  }).on('error', reject);
  return promise;
}
