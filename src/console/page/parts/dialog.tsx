/** Questions that stand before the page until they are answered. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { ApiError } from './api.ts';
import { Problem } from './feedback.tsx';

/** The browser keeps the focus inside, gives it back afterwards, and closes it at Escape. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      if (dialog?.open) dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={element} aria-labelledby={id} onClose={close}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

/** Asks before something is done, and says why it was not. It closes when that is done. */
export function Confirm({
  title,
  act,
  run,
  close,
  isBlocked = false,
  isDangerous = false,
  children,
}: {
  title: string;
  /** What the button says. */
  act: string;
  run: () => Promise<unknown>;
  close: () => void;
  isBlocked?: boolean;
  isDangerous?: boolean;
  children: ComponentChildren;
}) {
  const [error, setError] = useState<ApiError | null>(null);
  const [isRunning, setRunning] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setRunning(true);
    setError(null);
    try {
      await run();
      close();
    } catch (thrown) {
      setError(thrown as ApiError);
      setRunning(false);
    }
  };
  return (
    <Dialog title={title} close={close}>
      <form onSubmit={(event) => void submit(event)}>
        {children}
        <Problem error={error} />
        <div class="buttons">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class={isDangerous ? 'dangerous' : 'chief'} disabled={isBlocked || isRunning}>
            {act}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
