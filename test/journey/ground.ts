import { createServer } from 'node:net'
import { countByO200k } from '../../sim/o200k.ts'
import { calm } from '../../src/coordination/coordinator.ts'
import type { Account, Group } from '../../src/directory/entities.ts'
import { makeGroup } from '../../src/directory/groups.ts'
import { openLog } from '../../src/lib/log.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'
import type { Row } from './row.ts'

/** One world in which the rows of a table are walked one after another, each in a pool of its own of the same few accounts. */
export interface Ground extends AsyncDisposable {
  readonly world: World
  /** A key whose only group has the accounts of this row, in this order of priority. All of them are calm, and scripted. */
  keyFor(row: Row): Promise<string>
  /** What the gateway logged as a mistake of its own: nothing that an upstream or a client does should make one. */
  readonly mistakes: readonly string[]
}

const scripted = ['alias', 'a1', 'a2', 'a3', 'a4', 'a5'] as const

/** The accounts of a row, in the order in which they are chosen. */
export function accountsOf(row: Row): string[] {
  return [...(row.first ?? '').split(' ').filter(Boolean), ...scripted.filter(name => row[name] !== undefined)]
}

export async function openGround(options: WorldOptions = {}): Promise<Ground> {
  await using scope = new AsyncDisposableStack()
  const mistakes: string[] = []
  const mute = await listening(scope)
  const world = scope.use(
    await openWorld({
      balance: '1000',
      prices: [{ aliases: ['sim-2026-03-05'] }],
      countTokens: countByO200k,
      ...options,
      // The first count loads the vocabulary, and this machine may be busy.
      settings: { estimateWithinMs: 30_000, ...options.settings },
      log: openLog('error', { write: line => void mistakes.push(line) }),
      accounts: [
        // Nobody listens there.
        { name: 'dead', priority: 1, baseUrl: 'http://127.0.0.1:1/v1' },
        // No such name. (RFC 6761, 6.4)
        { name: 'nowhere', priority: 2, baseUrl: 'http://headgate.invalid/v1' },
        // Accepts, and never says a word of TLS.
        { name: 'mute', priority: 3, baseUrl: `https://127.0.0.1:${mute}/v1` },
        // A private address that nobody allowed.
        { name: 'private', priority: 4, baseUrl: 'https://127.0.0.1/v1', allowPrivateAddress: false },
        ...scripted.map((name, i) => ({ name, apiKey: `up-${name}`, priority: 10 + i, models: name === 'alias' ? { fast: 'sim' } : {} })),
      ],
    }),
  )
  const keys = new Map<string, string>()
  const rest = scope.move()
  return {
    world,
    mistakes,
    async keyFor(row) {
      const names = accountsOf(row)
      for (const { id } of world.accounts) await world.headgate.gateway.coordinator.change(id, () => calm)
      world.sim.reset()
      for (const name of scripted) world.sim.script({ key: `up-${name}` }, row[name] ?? {})
      const { onClientLeft = 'drain' } = row
      const pool = [onClientLeft, ...names].join(' ')
      const known = keys.get(pool)
      if (known !== undefined) return known
      const secret = await newPool(world, names, { name: pool, onClientLeft })
      keys.set(pool, secret)
      return secret
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  }
}

/** A group of these accounts, and a key for it. */
async function newPool(world: World, names: readonly string[], draft: Pick<Group, 'name' | 'onClientLeft'>): Promise<string> {
  const { directory } = world.headgate.gateway
  const group = makeGroup({ ...world.group, ...draft }, Date.now())
  await world.commit(group.steps)
  for (const name of names) {
    const now = directory.snapshot().accounts.get(byName(world, name).id)!
    await world.changeAccount(now, { groupIds: [...now.groupIds, group.entity.id] })
  }
  return (await world.addKey(world.user, { groupIds: [group.entity.id] })).secret
}

export function byName({ accounts }: World, name: string): Account {
  const found = accounts.find(account => account.name === name)
  if (found === undefined) throw new Error(`there is no account ${name}`)
  return found
}

/** A port that accepts connections, and nothing more. */
async function listening(scope: AsyncDisposableStack): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  scope.defer(() => void server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
