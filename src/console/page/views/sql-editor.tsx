/** A text of SQL that completes names while they are written. */
import { useId, useRef, useState } from 'preact/hooks';
import type { ProjectSchema } from '../../operator/answers.ts';
import { completionsOf, type Completion, wordBefore } from './sql-completion.ts';

export function SqlEditor({
  value,
  change,
  submit,
  schema,
}: {
  value: string;
  change: (value: string) => void;
  submit: () => void;
  schema: ProjectSchema | null;
}) {
  const id = useId();
  const area = useRef<HTMLTextAreaElement>(null);
  const [offered, setOffered] = useState<readonly Completion[]>([]);
  const [chosen, setChosen] = useState(0);

  const offer = (text: string) => {
    const caret = area.current?.selectionStart ?? text.length;
    setOffered(schema === null ? [] : completionsOf(schema, text, caret));
    setChosen(0);
  };
  const take = ({ text }: Completion) => {
    const caret = area.current?.selectionStart ?? value.length;
    const start = caret - wordBefore(value, caret).length;
    change(value.slice(0, start) + text + value.slice(caret));
    setOffered([]);
    area.current?.focus();
    // After the text has been drawn, behind what was completed.
    queueMicrotask(() => area.current?.setSelectionRange(start + text.length, start + text.length));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return submit();
    }
    const completion = offered[chosen];
    if (completion === undefined) return;
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) setChosen((chosen + step + offered.length) % offered.length);
    else if (event.key === 'Enter' || event.key === 'Tab') take(completion);
    else if (event.key === 'Escape') setOffered([]);
    else return;
    event.preventDefault();
  };

  return (
    <div class="field editor">
      <label for={id}>SQL</label>
      <textarea
        ref={area}
        id={id}
        class="mono"
        rows={8}
        value={value}
        spellcheck={false}
        autocomplete="off"
        aria-autocomplete="list"
        {...(offered.length > 0 ? { 'aria-controls': `${id}-list`, 'aria-activedescendant': `${id}-${chosen}` } : {})}
        onInput={(event) => {
          change(event.currentTarget.value);
          offer(event.currentTarget.value);
        }}
        onKeyDown={onKeyDown}
        onBlur={() => setOffered([])}
      />
      {offered.length > 0 && (
        <ul id={`${id}-list`} class="offered" role="listbox" aria-label="Completions">
          {offered.map((completion, place) => (
            <li
              key={completion.text}
              id={`${id}-${place}`}
              role="option"
              aria-selected={place === chosen}
              onMouseDown={(event) => {
                event.preventDefault();
                take(completion);
              }}
            >
              <code>{completion.text}</code> <span class="quiet">{completion.about}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
