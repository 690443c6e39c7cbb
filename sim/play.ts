import { type Answer, finalStatus, type Item, usedBy } from './answer.ts'
import { draftEvents, errorEvent, terminalEvent } from './events.ts'
import { tokensShown } from './output.ts'
import { chargeShown, type Play, pace } from './run.ts'
import { type End, isBroken, type Script } from './script.ts'
import { reportUsage } from './usage.ts'

/** An event of the stream, but for its number. */
export type Event = { readonly type: string } & Readonly<Record<string, unknown>>

/** Where the events of an answer appear. */
export interface Stage {
  /** False when the answer breaks off before all of the event was out. */
  show(event: Event, sequence: number): Promise<boolean>
  breakOff(end: End): Promise<void>
  /** Whether the answer shall stop before its next item, because its client had more to say. */
  isSteered?(): boolean
}

/** How a play ends: with a terminal event, as an error, or as no stream should. */
export type PlayEnd = 'terminal' | 'error' | 'broken'

/** Shows an answer event by event, as its script wants it. Throws when the client leaves. */
export async function playAnswer(play: Play, answer: Answer, stage: Stage): Promise<PlayEnd> {
  const drafts = draftEvents(answer)
  const { end, endAt } = plannedEnd(play.script, drafts.length)
  const items: Item[] = []
  let sequence = 0
  let isSteered = false
  for (const draft of drafts.slice(0, endAt)) {
    await pace(play, sequence)
    isSteered = draft.type === 'response.output_item.added' && stage.isSteered?.() === true
    if (isSteered) break
    play.begun ||= draft.isQueued !== true
    if (!(await stage.show({ type: draft.type, ...draft.fields }, sequence))) return await breakOffAnswer(play, answer, stage)
    Object.assign(play.shown, draft.shown)
    if (draft.item !== undefined) items.push(draft.item)
    sequence += 1
  }
  if (isSteered) {
    await stage.show(endingEvent(play, answer, { end: 'incomplete', items, isEarly: true, reason: 'steered' }), sequence)
    return 'terminal'
  }
  await pace(play, endAt)
  if (isBroken(end)) return await breakOffAnswer(play, answer, stage)
  if (end === 'error') {
    chargeShown(play, answer, 'error')
    await stage.show(errorEvent(play.script), endAt)
    return 'error'
  }
  await stage.show(endingEvent(play, answer, { end, items, isEarly: endAt < drafts.length }), endAt)
  return 'terminal'
}

/** How a stream ends, and after how many of its events. */
export function plannedEnd(script: Script, events: number): { end: End; endAt: number } {
  if (script.errorFirst === true) return { end: 'error', endAt: 0 }
  const end = script.end ?? 'completed'
  return { end, endAt: end === 'completed' ? events : Math.min(script.afterEvents ?? events, events) }
}

interface Ending {
  readonly end: Exclude<End, 'error'>
  /** Those that were finished. */
  readonly items: readonly Item[]
  /** Before all of the answer was shown. */
  readonly isEarly: boolean
  readonly reason?: 'steered'
}

/** The terminal event; what it reports is charged before it leaves. */
function endingEvent(play: Play, answer: Answer, { end, items, isEarly, ...why }: Ending): Event {
  const status = isEarly ? (end === 'failed' || end === 'cancelled' ? end : 'incomplete') : finalStatus(answer)
  const made = isEarly ? usedBy(answer.used.inputTokens, answer.script, tokensShown(answer.output, play.shown)) : answer.used
  const { wire, charged } = reportUsage(made, answer.script.usage)
  if (play.begun) play.charge(play.line, charged)
  play.line.usageReported = play.begun && wire !== undefined
  play.line.ended = status
  const event = terminalEvent(answer, {
    status,
    items: status === 'failed' ? [] : items,
    usage: play.begun ? wire : null,
    webSearches: play.begun ? charged.webSearches : 0,
    ...why,
  })
  play.keep?.(event.response)
  return { ...event }
}

async function breakOffAnswer(play: Play, answer: Answer, stage: Stage): Promise<PlayEnd> {
  const end = play.script.end ?? 'cut'
  chargeShown(play, answer, end)
  await stage.breakOff(end)
  return 'broken'
}
