/** What a page says of a state: how something stands, what went wrong, that it is waited for. */
import type { ComponentChildren } from 'preact';
import type { ApiError } from './api.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'calm';

const MARKS: Readonly<Record<Tone, string>> = { good: '●', warn: '▲', bad: '■', calm: '○' };

/** A state in a word; the colour and the mark only repeat it. */
export function Status({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`status ${tone}`}>
      <span aria-hidden="true">{MARKS[tone]}</span> <span>{children}</span>
    </span>
  );
}

/** Why something did not work, said at once. Nothing where it did. */
export function Problem({ error, retry }: { error: ApiError | null; retry?: () => void }) {
  if (error === null) return null;
  return (
    <div class="problem" role="alert">
      <p>{error.message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Waiting({ what }: { what: string }) {
  return (
    <p class="quiet" role="status">
      {what}
    </p>
  );
}

/** Where there is nothing: what that means. */
export function Nothing({ children }: { children: ComponentChildren }) {
  return <p class="nothing">{children}</p>;
}
