/** Everything around the service, examined when somebody asks: the stores, their tables, disks, clocks. */
import { useState } from 'preact/hooks';
import type { Doctor } from '../../operator/answers.ts';
import { type ApiError, get } from '../parts/api.ts';
import { Problem, Waiting } from '../parts/feedback.tsx';
import { counted } from '../parts/words.ts';
import { Checks, wrongAmong } from './checks.tsx';

export function Examination() {
  const [found, setFound] = useState<Doctor['checks'] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isRunning, setRunning] = useState(false);
  const examine = async () => {
    setRunning(true);
    setError(null);
    try {
      setFound((await get<Doctor>('/doctor')).checks);
    } catch (thrown) {
      setError(thrown as ApiError);
    }
    setRunning(false);
  };
  return (
    <section class="panel" aria-label="Examination">
      <h2>Everything around it</h2>
      <Problem error={error} />
      {isRunning && <Waiting what="Examining stores, tables, disks and clocks …" />}
      {!isRunning && found !== null && <Found checks={found} />}
      <div class="buttons">
        <button type="button" disabled={isRunning} onClick={() => void examine()}>
          {found === null ? 'Examine' : 'Examine again'}
        </button>
      </div>
    </section>
  );
}

function Found({ checks }: { checks: Doctor['checks'] }) {
  const wrong = wrongAmong(checks);
  const well = checks.filter(({ outcome }) => outcome === 'ok');
  return (
    <>
      <p role="status">
        {wrong.length === 0
          ? `All ${counted(checks.length, 'check')} passed.`
          : `${counted(wrong.length, 'check')} of ${checks.length} found something to do.`}
      </p>
      <Checks checks={wrong} />
      <details>
        <summary>{counted(well.length, 'check')} passed</summary>
        <Checks checks={well} />
      </details>
    </>
  );
}
