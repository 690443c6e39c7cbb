import { poolsRoot } from './pools.ts'
import type { Wire } from './wire.ts'

/** What a process learns by saying that it is alive. */
export interface Beat {
  /** Redis's own time, milliseconds since 1970. */
  readonly serverMs: number
  /** Nobody knew this process, or nobody any longer: whatever it had is free, or will be. */
  readonly isNew: boolean
  /** In which life of its process a slot is taken, should this be a new one. */
  readonly generation: string
  /** How many processes are alive, this one too. */
  readonly nodes: number
  readonly dead: readonly Dead[]
}

export interface Dead {
  readonly process: string
  readonly generation: string
}

const nodesRoot = 'hg:{nodes}'
/** How many keys Redis looks at in one step: others have their turn in between. */
const scanStep = 500

export async function beat(wire: Wire, process: string, silenceMs: number): Promise<Beat> {
  const answer = (await wire.run('lease-beat', [nodesRoot], [process, silenceMs])) as [string, number, string, number, ...string[]]
  const [serverMs, isNew, generation, nodes, ...rest] = answer
  const dead: Dead[] = []
  for (let i = 0; i < rest.length; i += 2) dead.push({ process: rest[i]!, generation: rest[i + 1]! })
  return { serverMs: Number(serverMs), isNew: isNew === 1, generation, nodes, dead }
}

/** This process ends: others need not wait until it is silent for long. */
export async function endLease(wire: Wire, process: string): Promise<void> {
  await wire.run('lease-end', [nodesRoot], [process])
}

/**
 * Frees every slot and place of a process that died. Several may do so at once, and one that fails halfway is followed by
 * another: each step can be repeated. Resolves to how many slots were freed.
 */
export async function reap(wire: Wire, { process, generation }: Dead, nowMs: () => number): Promise<number> {
  const { users, accounts } = await whoHasSlots(wire)
  let freed = 0
  for (const root of users) freed += Number(await wire.run('callers-reap', [root], [process, generation]))
  freed += Number(await wire.run('pools-reap', [poolsRoot], [process, generation, nowMs(), ...accounts]))
  await wire.run('lease-bury', [nodesRoot], [process, generation])
  return freed
}

/** Every user of whom something runs or waits, and every account that has slots taken. */
async function whoHasSlots(wire: Wire): Promise<{ readonly users: ReadonlySet<string>; readonly accounts: ReadonlySet<string> }> {
  const users = new Set<string>()
  const accounts = new Set<string>()
  let cursor = '0'
  do {
    const [next, keys] = (await wire.command('SCAN', cursor, 'MATCH', 'hg:{*', 'COUNT', scanStep)) as [string, readonly string[]]
    for (const key of keys) {
      const user = /^(hg:\{user:.*\}):(run|line)$/.exec(key)?.[1]
      if (user !== undefined) users.add(user)
      if (key.startsWith(`${poolsRoot}:run:`)) accounts.add(key.slice(`${poolsRoot}:run:`.length))
    }
    cursor = next
  } while (cursor !== '0')
  return { users, accounts }
}
