import { isOverRate, type OverRate, type Slot, type Turn } from './coordinator.ts'

/** The slot that was taken; a test that expects one fails here when there is none. */
export function slotOf(taken: Slot | Turn | OverRate | undefined): Slot {
  const slot = taken !== undefined && 'accountId' in taken ? ('slot' in taken ? taken.slot : taken.over) : taken
  if (slot === undefined || isOverRate(slot)) throw new Error(`no slot was taken, but ${JSON.stringify(slot)}`)
  return slot
}
