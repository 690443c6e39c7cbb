import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { send } from './client.ts'
import { openWorld } from './world.ts'

/**
 * Data folders as finished issues left them, kept to be opened by every later version. Made once, by
 * `node test/data-folders.ts NAME`, and never made anew: what an old version wrote is the point.
 */
export const foldersKept = fileURLToPath(new URL('./data/', import.meta.url))

/** Seals nothing but the scripted upstream's key. */
export const secretKey = 'c0ffee'.repeat(10) + 'c0ff'

/** What the folder must still say when it is opened. */
export interface Kept {
  readonly clientKey: string
  readonly email: string
  /** Nano-dollars, as text. */
  readonly balance: string
  readonly calls: readonly { readonly id: string; readonly ended: string; readonly cost: string }[]
}

async function make(name: string): Promise<void> {
  await using world = await openWorld({ settings: { secretKey }, balance: '5', user: { email: 'kept@example.com' } })
  const bodies = [{ input: 'whole' }, { input: 'streamed', stream: true }, { input: 'refused', model: 'nope' }]
  for (const body of bodies) await send(world, { body: JSON.stringify({ model: 'sim', ...body }) })
  await world.quiet()
  const rows = await world.rows()
  const { balance } = await world.balance()
  const kept: Kept = {
    clientKey: world.key,
    email: world.user.email,
    balance: String(balance),
    calls: rows.map(row => ({ id: String(row['id']), ended: String(row['ended']), cost: String(row['cost']) })),
  }
  const folder = join(foldersKept, name)
  mkdirSync(folder, { recursive: true })
  const books = new DatabaseSync(join(world.folder, 'data', 'headgate.db'), { readOnly: true })
  books.exec(`vacuum into '${join(folder, 'headgate.db')}'`)
  books.close()
  writeFileSync(join(folder, 'kept.json'), `${JSON.stringify(kept, null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await make(process.argv[2] ?? 'unnamed')
