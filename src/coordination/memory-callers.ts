import { Fault } from '../lib/fault.ts'
import type { Soon } from '../lib/soon.ts'
import type { Caller, CallerLimits, Coordinator, Meter, Slot, Waiter } from './coordinator.ts'
import type { MinuteMeters } from './memory-meters.ts'
import { givenBack, rateExceeded } from './meters.ts'
import { newSlot } from './slot.ts'

/** One user: what runs, by key, and who waits, oldest first. */
interface UserLine {
  running: number
  readonly runningByKey: Map<string, number>
  readonly waiting: Waiting[]
}

interface Waiting {
  caller: Caller
  readonly grant: (slot: Slot) => void
}

const noMeters: readonly Meter[] = []

/** The users' lines: first in, first out within a user, woken by the release. */
export class CallerLines implements Pick<Coordinator, 'enter' | 'renew'> {
  readonly #meters: MinuteMeters
  readonly #lines = new Map<string, UserLine>()

  constructor(meters: MinuteMeters) {
    this.#meters = meters
  }

  enter(caller: Caller, waiter: Waiter): Soon<Slot> {
    const line = this.#lineOf(caller.userId)
    const { meters = noMeters } = caller
    this.#renewLine(line, caller)
    const isFree = fits(line, caller)
    if (!isFree) waiter.signal.throwIfAborted()
    if (!isFree && line.waiting.length >= caller.waitingMax) throw new Fault('line_full')
    const over = this.#meters.spend(meters)
    if (over !== undefined) {
      this.#forget(caller.userId, line)
      throw rateExceeded(meters, over)
    }
    return isFree ? this.#take(line, caller) : this.#standIn(line, caller, waiter)
  }

  #standIn(line: UserLine, caller: Caller, { signal }: Waiter): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        caller,
        grant: slot => {
          signal.removeEventListener('abort', leave)
          resolve(slot)
        },
      }
      const leave = () => {
        line.waiting.splice(line.waiting.indexOf(waiting), 1)
        this.#meters.correct(givenBack(caller.meters ?? noMeters))
        this.#forget(caller.userId, line)
        reject(signal.reason)
      }
      line.waiting.push(waiting)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  async renew(limits: CallerLimits): Promise<void> {
    const line = this.#lines.get(limits.userId)
    if (line !== undefined) this.#renewLine(line, limits)
  }

  now(): { callersRunning: number; callersWaiting: number } {
    let callersRunning = 0
    let callersWaiting = 0
    for (const line of this.#lines.values()) {
      callersRunning += line.running
      callersWaiting += line.waiting.length
    }
    return { callersRunning, callersWaiting }
  }

  #lineOf(userId: string): UserLine {
    let line = this.#lines.get(userId)
    if (line === undefined) {
      line = { running: 0, runningByKey: new Map(), waiting: [] }
      this.#lines.set(userId, line)
    }
    return line
  }

  #renewLine(line: UserLine, newest: CallerLimits): void {
    if (line.waiting.length === 0) return
    renewLimits(line, newest)
    this.#advance(line)
  }

  #take(line: UserLine, { userId, keyId }: Caller): Slot {
    line.running += 1
    line.runningByKey.set(keyId, (line.runningByKey.get(keyId) ?? 0) + 1)
    return newSlot(`user:${userId}`, () => {
      line.running -= 1
      const ofKey = line.runningByKey.get(keyId)! - 1
      if (ofKey === 0) line.runningByKey.delete(keyId)
      else line.runningByKey.set(keyId, ofKey)
      this.#advance(line)
      this.#forget(userId, line)
    })
  }

  /** Gives what is free to the oldest who may have it. One whose key is full does not hold up the user's other keys. */
  #advance(line: UserLine): void {
    for (let i = 0; i < line.waiting.length; ) {
      const { caller, grant } = line.waiting[i]!
      if (!fits(line, caller)) {
        i += 1
        continue
      }
      line.waiting.splice(i, 1)
      grant(this.#take(line, caller))
    }
  }

  #forget(userId: string, line: UserLine): void {
    if (line.running === 0 && line.waiting.length === 0 && this.#lines.get(userId) === line) this.#lines.delete(userId)
  }
}

function fits(line: UserLine, { keyId, userSlots, keySlots }: Caller): boolean {
  if (userSlots > 0 && line.running >= userSlots) return false
  return keySlots <= 0 || (line.runningByKey.get(keyId) ?? 0) < keySlots
}

/** Whoever waits does so under the newest limits: an operator who raises one sees the line move. */
function renewLimits(line: UserLine, newest: CallerLimits): void {
  for (const waiting of line.waiting) {
    const { caller } = waiting
    const keySlots = caller.keyId === newest.keyId ? newest.keySlots : caller.keySlots
    if (caller.userSlots !== newest.userSlots || caller.keySlots !== keySlots) {
      waiting.caller = { ...caller, userSlots: newest.userSlots, keySlots }
    }
  }
}
