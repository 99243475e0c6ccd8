// CloseRange: closes every descriptor from one number to another.
//
// In the child. By the kernel's close_range (Linux 5.9), or one by one where
// that may not be called. Errors: none; a number that is free is left free.
//
// Example:
//   CloseRange(7, ~0U);  // all above 6

#ifndef BROOD_PROC_CLOSE_RANGE_H_
#define BROOD_PROC_CLOSE_RANGE_H_

namespace brood::proc {

// `first` to `last`, both included; ~0U for the highest there is.
void CloseRange(unsigned first, unsigned last);

}  // namespace brood::proc

#endif  // BROOD_PROC_CLOSE_RANGE_H_
