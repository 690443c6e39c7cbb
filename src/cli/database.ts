import { resolve } from 'node:path'
import type { Command } from 'commander'
import { printJson, printLine, wrong } from './io.ts'
import { running } from './serve.ts'
import { type Asked, type Cli, verb } from './verb.ts'

/** `migrate` and `move`: the books themselves, without a gateway. */
export function databaseCommands(program: Command, cli: Cli): void {
  const migrate = verb(program, 'migrate', 'Bring the schema of the books forward, as a start does', 'headgate migrate')
  migrate.action(async (asked: Asked) => {
    const config = cli.config()
    const { migrateOnly } = await import('../move.ts')
    const { from, to } = await running(migrateOnly(config.settings), config)
    if (asked.json) return printJson(cli.terminal, { from, to })
    printLine(cli.terminal, from === to ? `The schema is at ${to} already.` : `The schema is at ${to}; it was at ${from}.`)
  })

  const example = 'HEADGATE_DATABASE_URL=postgres://… headgate move --from ./data'
  const move = verb(program, 'move', 'Carry embedded books over to an empty PostgreSQL database; no gateway may run', example)
  move
    .requiredOption('--from <folder>', 'the data folder with the books')
    .option('--to <url>', 'the database; without it the one of HEADGATE_DATABASE_URL, whose password nobody else can see')
    .action(async ({ from, to, json }: Asked & { from: string; to?: string }) => {
      const config = cli.config()
      const url = to ?? config.settings.databaseUrl
      if (url === null) throw wrong('Where to is not said: set HEADGATE_DATABASE_URL, or say --to postgres://…')
      if (!/^postgres(ql)?:\/\//.test(url)) throw wrong('--to takes a URL such as postgres://headgate@db.example.com/headgate.')
      const { move } = await import('../move.ts')
      const data = resolve(cli.terminal.cwd, from)
      const told = (table: string, rows: number) => {
        if (!json && rows % toldEveryRows === 0) printLine(cli.terminal, `  ${table}: ${rows} rows so far`)
      }
      const moved = await running(move({ ...config.settings, data }, { ...config.settings, databaseUrl: url }, told), config)
      if (json) return printJson(cli.terminal, { items: moved })
      for (const { table, rows } of moved) printLine(cli.terminal, `${table.padEnd(20)} ${String(rows).padStart(12)}`)
      printLine(cli.terminal, `The books are in the new database and balance. ${whatNext(data)}`)
    })
}

const toldEveryRows = 10_000

function whatNext(data: string): string {
  return `Keep ${data} for its keys and its journal, and start the gateway with HEADGATE_DATABASE_URL; headgate.db in it is a backup now.`
}
