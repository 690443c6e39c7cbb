import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type Column, cell, Failure, type Item, printJson, printLine, printTable, type Terminal, wrong } from './io.ts'
import { type CheckedSetup, readSetup } from './setup-file.ts'
import { type Asked, type Cli, verb } from './verb.ts'

interface ApplyAsked extends Asked {
  readonly file: string
  readonly dryRun?: boolean
  readonly prune?: boolean
}

export function applyCommand(program: Command, cli: Cli): void {
  verb(program, 'apply', 'Make the gateway as a file says; applying it twice changes nothing', 'headgate apply -f setup.yaml --dry-run')
    .requiredOption('-f, --file <path>', 'a YAML file of groups, users, accounts and so on; - reads standard input')
    .option('--dry-run', 'only say what would be done')
    .option('--prune', 'also remove what the file does not name')
    .action(async ({ file, dryRun = false, prune = false, json }: ApplyAsked) => {
      const { terminal } = cli
      const shown = file === '-' ? 'standard input' : file
      // The schema brings all of zod along, for which the other commands need not wait.
      const { setupSchema } = await import('../admin/setup.ts')
      const checked = readSetup(await read(file, terminal), { shown, schema: setupSchema, env: terminal.env })
      const answer = await send(cli, checked, { dryRun, prune })
      if (json) return printJson(terminal, answer)
      printChanges(terminal, answer, dryRun)
    })
}

async function read(file: string, terminal: Terminal): Promise<string> {
  if (file === '-') return terminal.stdin()
  try {
    return readFileSync(resolve(terminal.cwd, file), 'utf8')
  } catch (error) {
    const why = error instanceof Error && 'code' in error && error.code === 'ENOENT' ? 'there is no such file' : (error as Error).message
    throw wrong(`${file} cannot be read: ${why}.`)
  }
}

/** What only the gateway can see, such as a group that nobody has, it tells by path; we tell it by line. */
async function send(cli: Cli, { setup, placeOf }: CheckedSetup, how: { readonly dryRun: boolean; readonly prune: boolean }): Promise<Item> {
  try {
    return await cli.api().send('POST', pathOf('apply'), { setup, ...how })
  } catch (error) {
    if (!(error instanceof Failure) || !error.problems.some(({ path }) => path[0] === section)) throw error
    const sentences = error.problems.map(({ path, message }) => `${placeOf(path.slice(1))}: ${message.replace(`${section}.`, '')}`)
    throw new Failure(sentences.join('\n'), error.exitCode)
  }
}

/** Where the setup stands in what is sent. */
const section = 'setup'

const columns: readonly Column[] = [
  { title: 'WHAT', of: change => change.kind },
  { title: 'NAME', of: change => change.name },
  { title: 'DONE', of: change => change.action },
  { title: 'CHANGES', of: change => Object.entries((change.fields ?? {}) as Item).map(([field, one]) => fieldText(field, one as Item)) },
]

/** "weight: 1 → 2" */
function fieldText(field: string, { from, to }: Item): string {
  return `${field}: ${cell(from)} → ${cell(to)}`
}

function printChanges(terminal: Terminal, answer: Item, dryRun: boolean): void {
  const changes: readonly Item[] = Array.isArray(answer.changes) ? answer.changes : []
  printTable(terminal, columns, changes, 'The file names nothing.')
  const changed = changes.filter(change => change.action !== 'unchanged').length
  const rest = changes.length - changed
  printLine(
    terminal,
    dryRun ? `\n${changed} would change, ${rest} stay; nothing was done.` : `\n${changed} changed, ${rest} stay as they were.`,
  )
}
