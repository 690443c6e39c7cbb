import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type Column, Failure, type Item, printJson, printLine, printTable } from './io.ts'
import { type Asked, type Cli, noun, verb } from './verb.ts'

export function ledgerCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'ledger', 'The books')
  const check = verb(command, 'check', 'Count the books again; exits with 1 when anything differs', 'headgate ledger check')
  check.action(async (asked: Asked) => {
    const answer = await cli.api().get(pathOf('ledger', 'check'))
    const differences = differencesOf(answer)
    if (asked.json) printJson(cli.terminal, answer)
    else if (differences.length === 0) printLine(cli.terminal, 'The books balance.')
    else printTable(cli.terminal, columns, differences)
    if (differences.length > 0)
      throw new Failure(`The books do not balance: ${differences.length} ${differences.length === 1 ? 'difference' : 'differences'}.`)
  })
}

/** Fails closed: an answer without a list of differences is no proof that there are none. */
function differencesOf({ differences }: Item): readonly Item[] {
  if (!Array.isArray(differences)) throw new Failure('The gateway did not say whether the books balance; is its version the same?')
  return differences
}

const columns: readonly Column[] = [
  { title: 'WHAT', of: one => one.subject },
  { title: 'ID', of: one => one.id },
  { title: 'RECORDED', of: one => one.recorded, right: true },
  { title: 'RECKONED', of: one => one.recomputed, right: true },
  { title: 'SAYS', of: one => one.says },
]
