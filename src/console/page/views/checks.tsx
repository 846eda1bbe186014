/** What an examination found: each thing it looked at, and what to do where something is wrong. */
import type { Check } from '../../operator/answers.ts';
import { Status, type Tone } from '../parts/feedback.tsx';

const TONES: Readonly<Record<Check['outcome'], Tone>> = { ok: 'good', warn: 'warn', fail: 'bad' };

export function Checks({ checks }: { checks: readonly Check[] }) {
  if (checks.length === 0) return null;
  return (
    <ul class="reasons">
      {checks.map(({ name, outcome, detail, remedy }) => (
        <li key={name + detail}>
          <p>
            <Status tone={TONES[outcome]}>{outcome}</Status> <b>{name}</b>: {detail}
          </p>
          {remedy !== null && <p class="quiet">{remedy}</p>}
        </li>
      ))}
    </ul>
  );
}

export const wrongAmong = (checks: readonly Check[]): Check[] => checks.filter(({ outcome }) => outcome !== 'ok');
