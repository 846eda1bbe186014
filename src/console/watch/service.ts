/** The service as anybody sees it: its pages, over HTTP. */

export type ServicePages = {
  /** Both pages at one moment. Throws where the service does not answer in time, or not as it should. */
  read(signal?: AbortSignal): Promise<{ readonly metrics: string; readonly health: unknown }>;
};

const WITHIN_MS = 5_000;

/** `url`: its base. `metricsToken`: null where the page of metrics asks for none. */
export function createServicePages({
  url,
  metricsToken,
}: {
  readonly url: string;
  readonly metricsToken: string | null;
}): ServicePages {
  const headers = metricsToken === null ? {} : { Authorization: `Bearer ${metricsToken}` };

  return {
    async read(signal) {
      const cut = AbortSignal.any([AbortSignal.timeout(WITHIN_MS), ...(signal ? [signal] : [])]);
      const page = async (path: string, more: Record<string, string>) => {
        const answer = await fetch(new URL(path, url), { headers: more, signal: cut, redirect: 'error' });
        if (!answer.ok) throw new Error(`the service answered ${path} with ${answer.status}`);
        return answer.text();
      };
      const [metrics, health] = await Promise.all([page('/internal/metrics', headers), page('/health', {})]);
      return { metrics, health: JSON.parse(health) as unknown };
    },
  };
}
