/** Some events of a dead letter, which are replayed without the others. */
import { useState } from 'preact/hooks';
import { post } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { goTo } from '../parts/route.ts';
import { counted } from '../parts/words.ts';
import { type Chosen, rangesOf } from './chosen-rows.ts';

export function ReplayChosen({ id, total, chosen }: { id: string; total: number; chosen: Chosen }) {
  const [isAsked, setAsked] = useState(false);
  const replay = async () => {
    const { letterId } = await post<{ letterId: string }>(`/letters/${encodeURIComponent(id)}/replay-rows`, {
      only: rangesOf(chosen),
    });
    goTo(['letters', 'letter', letterId]);
  };
  return (
    <div class="buttons">
      <button type="button" disabled={chosen.size === 0} onClick={() => setAsked(true)}>
        {chosen.size === 0 ? 'Replay the chosen …' : `Replay the ${chosen.size} chosen …`}
      </button>
      {isAsked && (
        <Confirm title="Replay some of it?" act="Replay" run={replay} close={() => setAsked(false)}>
          <p>
            <b>{counted(chosen.size, 'event')}</b> become a letter of their own, which is due at once with all its tries
            restored. {counted(total - chosen.size, 'event')} stay behind as they are, in another letter. The audit says
            which.
          </p>
        </Confirm>
      )}
    </div>
  );
}
