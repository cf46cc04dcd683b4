# libtlp - build, test, install.  `make help` lists targets and variables.

CC         ?= cc
CXX        ?= c++
AR         ?= ar
PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
BUILD      ?= build

PREFIX ?= /usr/local

TLP_DEPS := libpcre2-8 libutf8proc jansson hwloc
DEP_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(TLP_DEPS))
DEP_LIBS   = $(shell $(PKG_CONFIG) --libs $(TLP_DEPS))

TLP_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread \
             -fno-math-errno -ffp-contract=off \
             -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
             -Wstrict-prototypes -Wmissing-prototypes -Wvla \
             -Iinclude -Ilib $(DEP_CFLAGS)
TLP_LIBS   = $(DEP_LIBS) -lm -pthread

ifdef ASAN
TLP_CFLAGS += -fsanitize=address,undefined -fno-omit-frame-pointer
TLP_LDFLAGS += -fsanitize=address,undefined
endif
ifdef TSAN
TLP_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
TLP_LDFLAGS += -fsanitize=thread
endif
ifdef WERROR
TLP_CFLAGS += -Werror
endif

LIB_SRC := $(wildcard lib/*/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)

$(BUILD)/lib/backend/%_avx2.o: TLP_CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/lib/backend/%_avx512.o: TLP_CFLAGS += -mavx512f -mavx512bw \
    -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16 -mfma -mf16c

all: $(BUILD)/libtlp.a

$(BUILD)/libtlp.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TLP_CFLAGS) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# Tests: one Criterion program for each test/test_*.c.
SUPPORT_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/support/*.c))

$(BUILD)/test/%: $(BUILD)/test/%.o $(SUPPORT_OBJ) $(BUILD)/libtlp.a
	$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ -lcriterion $(TLP_LIBS) $(LDLIBS)

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.SECONDARY:
-include $(LIB_OBJ:.o=.d)
