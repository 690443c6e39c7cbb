import { expect, test } from 'vitest'
import { script, statement } from './database.ts'
import { type Command, type Message, readCommands, writeCommand } from './sqlite-wire.ts'

test('commands are read as they were written, and the text of a statement travels once', () => {
  const [select, insert, drop] = [statement('select $1'), statement('insert'), script('drop')]
  const known = new Set<number>()
  const texts = new Map<number, string>()
  const messages = [0, 1].map(() => {
    const message: Message = []
    writeCommand(message, 0, [{ statement: select, values: ['a'] }], known)
    writeCommand(message, 1, [], known)
    const steps = [
      { statement: drop, values: [] },
      { statement: insert, values: [null, 1n, ''], rows: 0, otherwise: 'short' },
    ]
    writeCommand(message, 2, steps, known)
    return message
  })
  for (const message of messages) {
    const commands: Command[] = []
    readCommands(message, texts, commands)
    expect(commands).toEqual([
      { level: 0, steps: [{ number: select.number, sql: 'select $1', rows: null, values: ['a'] }] },
      { level: 1, steps: [] },
      {
        level: 2,
        steps: [
          { number: drop.number, sql: 'drop', rows: null, values: [] },
          { number: insert.number, sql: 'insert', rows: 0, values: [null, 1n, ''] },
        ],
      },
    ])
  }
  expect(messages.map(message => ['select $1', 'insert', 'drop'].filter(sql => message.includes(sql)))).toEqual([
    ['select $1', 'insert', 'drop'],
    ['drop'],
  ])
})
