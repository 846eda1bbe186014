/** What people fill in, and take along. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import { after } from './clock.ts';

const SAID_FOR_MS = 2_000;

/** A labelled line of text. */
export function Field({
  label,
  value,
  change,
  hint,
  isSecret = false,
  ...rest
}: {
  label: string;
  value: string;
  change: (value: string) => void;
  hint?: ComponentChildren;
  isSecret?: boolean;
  name?: string;
  autocomplete?: string;
  placeholder?: string;
  required?: boolean;
}) {
  const id = useId();
  const shared = {
    id,
    value,
    spellcheck: false,
    onInput: (event: { currentTarget: HTMLInputElement }) => change(event.currentTarget.value),
    ...(hint ? { 'aria-describedby': `${id}-hint` } : {}),
    ...rest,
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {isSecret ? <input type="password" {...shared} /> : <input type="text" {...shared} />}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

export type Option = { readonly value: string; readonly text: string };

/** A labelled choice of one. */
export function Choice({
  label,
  value,
  options,
  change,
}: {
  label: string;
  value: string;
  options: readonly Option[];
  change: (value: string) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => change(event.currentTarget.value)}>
        {options.map(({ value: own, text }) => (
          <option key={own} value={own} selected={own === value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** A text to take along: shown as it is, with a button that copies it. */
export function Copyable({ text, what }: { text: string; what: string }) {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => (isCopied ? after(SAID_FOR_MS, () => setCopied(false)) : undefined), [isCopied]);
  return (
    <div class="copyable">
      <pre tabIndex={0} aria-label={what}>
        <code>{text}</code>
      </pre>
      <button type="button" onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}>
        {isCopied ? 'Copied' : `Copy ${what}`}
      </button>
    </div>
  );
}
