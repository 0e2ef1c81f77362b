/* SPDX-License-Identifier: MIT
 *
 * Constants of the activation functions, rounded to binary32 from the exact values. */
#ifndef FT_KERNEL_ACTIVATION_CONSTANTS_H
#define FT_KERNEL_ACTIVATION_CONSTANTS_H

#define FT_GELU_C0 0x1.988454p-1f     /* sqrt(2/pi) */
#define FT_GELU_C1 0x1.2444f2p-5f     /* sqrt(2/pi) 0.044715 */
#define FT_GELU_C1X3 0x1.b6676cp-4f   /* three times that */
#define FT_SQRT_HALF 0x1.6a09e6p-1f   /* sqrt(1/2) */
#define FT_INV_SQRT_2PI 0x1.988454p-2f /* 1/sqrt(2 pi) */

#endif
