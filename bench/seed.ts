import { statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openSeeded, type Sizes, seed } from './seeding.ts'

/** Makes a data folder as a large installation has it after a few months: `npm run bench:seed -- --folder ./seeded`. */
const options = {
  folder: { type: 'string' },
  rows: { type: 'string', default: '10000000' },
  keys: { type: 'string', default: '100000' },
  users: { type: 'string', default: '10000' },
  accounts: { type: 'string', default: '1000' },
  unchecked: { type: 'boolean', default: false },
} as const

const startedMs = performance.now()

try {
  await run(parseArgs({ options }).values)
} catch (error) {
  console.error(`bench:seed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run({ folder, unchecked, ...said }: ReturnType<typeof parseArgs<{ options: typeof options }>>['values']): Promise<void> {
  if (folder === undefined) throw new Error('it takes --folder, a data folder that is not there yet')
  const sizes: Sizes = {
    rows: wholeOf('rows', said.rows),
    keys: wholeOf('keys', said.keys),
    users: wholeOf('users', said.users),
    accounts: wholeOf('accounts', said.accounts),
  }
  await seed(folder, sizes, told)
  const gib = statSync(join(folder, 'headgate.db')).size / 2 ** 30
  told(`${sizes.rows.toLocaleString('en')} calls with all that belongs to them, ${gib.toFixed(1)} GiB`)
  if (unchecked) return
  const books = await openSeeded(folder)
  try {
    const differences = await books.check()
    if (differences.length > 0) throw new Error(`the books do not balance: ${differences[0]!.says}`)
    told('every sum of the books was reckoned anew, and is right')
  } finally {
    await books.close()
  }
}

function wholeOf(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`--${name} is ${text}; it takes a whole number from 1`)
  return Number(text)
}

function told(line: string): void {
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${line}`)
}
