// SPDX-License-Identifier: Apache-2.0
//
// Makes the linker put the tables for exceptions with the data of a program, and not
// with its code. For a program whose code is on huge pages: the tables often need one
// more, or a mapping of their own behind the last one, and a fork copies both.
//
// Has no content. The linker script of bfd puts a section that is writable in one of
// its inputs with the data that is read-only after the program was relocated, where the
// tables are as protected as before. Other linkers may leave out the index of the
// tables: for programs that are linked by bfd alone. The assembler of clang refuses
// these flags for the section; what clang builds has its tables with the code.

#ifndef __clang__
.section .eh_frame, "aw", @progbits
.section .gcc_except_table, "aw", @progbits
#endif
.section .note.GNU-stack, "", @progbits
