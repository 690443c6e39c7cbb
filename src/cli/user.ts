import type { Command } from 'commander'
import { addVerb, type Cli, type Fields, type Kind, listVerb, noun, removeVerb, setVerb, showVerb, switchVerbs } from './verb.ts'
import { wholeNumber, wholeNumberOrNone } from './words.ts'

export function userCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'user', 'People, each with a wallet and limits')
  const kind: Kind = { cli, command, path: 'users', word: 'user', argument: '<email>', sample: 'dev@example.com', columns }
  addVerb(kind, fields)
  listVerb(kind)
  showVerb(kind)
  setVerb(kind, fields)
  switchVerbs(kind)
  removeVerb(kind)
}

const columns: Kind['columns'] = [
  { title: 'EMAIL', of: user => user.email },
  { title: 'AT ONCE', of: user => user.concurrency, right: true },
  { title: 'REQUESTS/MIN', of: user => user.requestsPerMinute, right: true },
  { title: 'TOKENS/MIN', of: user => user.tokensPerMinute, right: true },
  { title: 'DISABLED', of: user => user.disabled },
]

const fields: Fields = {
  addExample: 'headgate user add dev@example.com --concurrency 5',
  setExample: 'headgate user set dev@example.com --requests-per-minute 60',
  options(command, isNew) {
    if (!isNew) command.option('--email <email>', 'another address')
    command
      .option('--concurrency <calls>', 'calls at once; 0 or less is no limit', wholeNumber)
      .option('--requests-per-minute <requests>', 'or none', wholeNumberOrNone)
      .option('--tokens-per-minute <tokens>', 'or none', wholeNumberOrNone)
  },
}
