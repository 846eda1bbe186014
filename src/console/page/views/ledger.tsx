/** The sum that closes: where everything is that was accepted. */
import { get } from '../parts/api.ts';
import { Problem } from '../parts/feedback.tsx';
import { useLoaded } from '../parts/load.ts';

export function LedgerPanel() {
  const { value, error, reload } = useLoaded('ledger', (signal) => get<unknown>('/ledger', {}, { signal }));
  return (
    <section class="panel" aria-label="Ledger">
      <h2>Where every accepted event is</h2>
      <Problem error={error} retry={reload} />
      {value !== null && <pre>{JSON.stringify(value, null, 2)}</pre>}
    </section>
  );
}
