import type { Coordinator } from '../coordination/coordinator.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Directory } from './snapshot.ts'

/**
 * How often the books are asked whether another gateway has changed the directory. A revoked key must stop within five seconds
 * everywhere, also when the books take two to answer and nobody could be told.
 */
export const askMs = 1_000

/** The directory among several gateways: it is read anew when another one has changed it, at once if that is announced, else within `askMs`. */
export function shareDirectory(
  directory: Directory,
  coordinator: Pick<Coordinator, 'announce' | 'onAnnounced'>,
  clock: Clock,
): Directory & Disposable {
  let isAsking = false
  let isAskedAgain = false
  let isOver = false
  let next: Timer | undefined

  /** One at a time; whoever asks meanwhile has it asked once more. */
  function ask(): void {
    isAskedAgain = isAsking
    if (isAsking || isOver) return
    next?.[Symbol.dispose]()
    isAsking = true
    directory
      .catchUp()
      .catch(() => {}) // The books are away, where nobody can change the directory or spend money: it is asked again soon.
      .then(() => {
        isAsking = false
        if (isAskedAgain) ask()
        else if (!isOver) next = clock.after(askMs, ask)
      })
  }

  const listening = coordinator.onAnnounced(ask)
  next = clock.after(askMs, ask)
  return {
    ...directory,
    async refresh() {
      await directory.refresh()
      await coordinator.announce()
    },
    [Symbol.dispose]() {
      isOver = true
      next?.[Symbol.dispose]()
      listening[Symbol.dispose]()
    },
  }
}
