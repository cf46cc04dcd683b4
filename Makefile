# libtlp - build, test, install.  `make help` lists targets and variables.

# One job for each core, unless the caller says -jN: its -jN wins.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(or $(shell nproc 2>/dev/null),1)
endif
# The output of a recipe in one piece.  A check or a benchmark shows what it
# prints at once, so it goes without.
ifeq ($(filter check% run-% bench% demo fuzz,$(MAKECMDGOALS)),)
MAKEFLAGS += --output-sync=target
endif

# ==== what the user may set =================================================
# Environment and command line win over all of these.

ifeq ($(origin CC),default)
CC := cc
endif
ifeq ($(origin CXX),default)
CXX := c++
endif
ifeq ($(origin AR),default)
AR := ar
endif
NVCC         ?= nvcc
MPICC        ?= mpicc
PKG_CONFIG   ?= pkg-config
CLANG        ?= clang
CLANG_FORMAT ?= clang-format
DOXYGEN      ?= doxygen
INSTALL      ?= install
LN_S         ?= ln -sf
PYTHON       ?= python3

CFLAGS   ?= -O2 -g
CXXFLAGS ?= -O2 -g

# Lower-case GNU names are accepted too.
prefix       ?= /usr/local
PREFIX       ?= $(prefix)
BINDIR       ?= $(PREFIX)/bin
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
MANDIR       ?= $(PREFIX)/share/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
# Name of the installed tool and of its manual page.  Debian's package `tlp`,
# which saves the power of laptops, has a command and a page named `tlp`.
TOOL_NAME    ?= tlp

# Switches, 0 or 1.  Each sanitizer builds into a folder of its own.
ASAN   ?= 0 # address and undefined behaviour
UBSAN  ?= 0 # undefined behaviour
TSAN   ?= 0 # data races
FUZZ   ?= 0 # coverage for libFuzzer, with ASAN's checks; needs clang
DEBUG  ?= 0 # no optimisation: -O0 after all other flags
CUDA   ?= 0 # the plug-in for NVIDIA GPUs too; needs nvcc
WERROR ?= 0 # warnings are errors
V      ?= 0 # show commands

# The plug-in for ranks in several processes needs Open MPI: 1, 0 or auto, which
# asks whether there is an mpicc.
MPI ?= auto

# `tlp serve` needs libmicrohttpd: 1, 0 or auto, which asks pkg-config.  Without
# it the tool says so.
SERVE ?= auto

FUZZ_SECONDS ?= 60

on = $(filter 1,$(firstword $($(1))))
comma := ,

VARIANT := $(if $(call on,FUZZ),/fuzz)$(if $(call on,ASAN),/asan)$(strip \
           )$(if $(call on,UBSAN),/ubsan)$(if $(call on,TSAN),/tsan)$(strip \
           )$(if $(call on,DEBUG),/debug)
BUILD ?= build$(VARIANT)

# ==== flags =================================================================

version = $(shell sed -n 's/^.define TLP_$(1) \([0-9]*\).*/\1/p' include/tlp.h)
ABI     := $(call version,ABI_VERSION)
VERSION := $(call version,VERSION_MAJOR).$(call version,VERSION_MINOR).$(strip \
           $(call version,VERSION_PATCH))

# Asked once, and only when something is compiled: a first `make check` installs
# these packages before it gets here.
DEPS := libpcre2-8 jansson hwloc
once  = $(eval $(1) := $$(shell $(2)))$($(1))
missing_deps = $(error $(DEPS) not found by $(PKG_CONFIG): try scripts/setup.sh)
DEP_FOUND  = $(or $(call once,DEP_FOUND,$(PKG_CONFIG) --exists $(DEPS) && \
             echo yes),$(missing_deps))
DEP_CFLAGS = $(if $(DEP_FOUND),$(call once,DEP_CFLAGS,$(PKG_CONFIG) --cflags \
             $(DEPS)))
DEP_LIBS   = $(if $(DEP_FOUND),$(call once,DEP_LIBS,$(PKG_CONFIG) --libs \
             $(DEPS)))

has_serve := $(if $(filter auto,$(SERVE)),$(shell $(PKG_CONFIG) --exists \
             libmicrohttpd && echo yes),$(call on,SERVE))
SERVE_CFLAGS = $(if $(has_serve),$(call once,SERVE_CFLAGS,$(PKG_CONFIG) \
               --cflags libmicrohttpd))
SERVE_LIBS   = $(if $(has_serve),$(call once,SERVE_LIBS,$(PKG_CONFIG) --libs \
               libmicrohttpd))

has_mpi := $(if $(filter auto,$(MPI)),$(shell command -v $(MPICC)),$(strip \
           $(call on,MPI)))
MPI_CFLAGS = $(call once,MPI_CFLAGS,$(MPICC) --showme:compile | \
             sed 's/-I */-isystem /g')
MPI_LIBS   = $(call once,MPI_LIBS,$(MPICC) --showme:link)

sanitize := $(strip $(if $(call on,FUZZ),-fsanitize=fuzzer-no-link) \
            $(if $(call on,FUZZ)$(call on,ASAN),-fsanitize=address) \
            $(if $(call on,FUZZ)$(call on,ASAN)$(call on,UBSAN), \
                -fsanitize=undefined -fno-sanitize-recover=undefined) \
            $(if $(call on,TSAN),-fsanitize=thread))

# No -ffast-math, no contraction and no -march: results must not depend on the
# compiler's mood or on the machine that built the library.
WARN_C := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
          -Wstrict-prototypes -Wmissing-prototypes -Wvla
TLP_CFLAGS = -std=c11 -D_GNU_SOURCE -pthread -fPIC -fvisibility=hidden \
             -fno-math-errno -ffp-contract=off $(WARN_C) \
             $(if $(call on,WERROR),-Werror) \
             $(if $(sanitize),$(sanitize) -fno-omit-frame-pointer) \
             -Iinclude
# Comes last, after the -O2 of CFLAGS and CXXFLAGS.
DEBUG_CFLAGS = $(if $(call on,DEBUG),-O0)
LIB_CFLAGS = -Ilib $(DEP_CFLAGS)
# Assertions, which end the process, are for debugging and sanitizers only.
RELEASE_CFLAGS = $(if $(sanitize)$(call on,DEBUG),,-DNDEBUG)
TLP_LDFLAGS = $(sanitize) -pthread
# Criterion does not start under TSan; test/plain stands in for it.
TEST_CFLAGS = $(if $(call on,TSAN),-Itest/plain) -Itest
TLP_LIBS    = $(DEP_LIBS) -lm -ldl

# C++ is for cuda/, and for what stands in for a GPU in tests.  There cuda/*.cu
# are compiled as C++, with the headers of test/cuda/emu before the toolkit's.
TLP_CXXFLAGS = -std=c++17 -D_GNU_SOURCE -pthread -fPIC -fvisibility=hidden \
               -fno-math-errno -ffp-contract=off -Wall -Wextra -Wshadow \
               -Wno-unknown-pragmas $(if $(call on,WERROR),-Werror) \
               $(if $(sanitize),$(sanitize) -fno-omit-frame-pointer) \
               -DTLPI_EMULATED -Itest/cuda/emu -Icuda -Iinclude -Ilib

# Machine code for these, and PTX for what comes later.
CUDA_ARCHS   ?= 80 90
cuda_newest   = $(lastword $(CUDA_ARCHS))
NVCC_COMPILE  = -std=c++17 -O2 -Icuda -Iinclude -Ilib $(RELEASE_CFLAGS) \
                $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$a,code=sm_$a) \
                -gencode \
                arch=compute_$(cuda_newest),code=compute_$(cuda_newest) \
                -Xcompiler -fPIC,-fvisibility=hidden,-Wall \
                $(if $(call on,WERROR),-Werror all-warnings -Xcompiler -Werror)

# clang leaves the sanitizers' symbols of a shared library undefined.
TLP_SOFLAGS = -shared -Wl,-soname,libtlp.so.$(ABI) -Wl,--as-needed \
              -Wl,--version-script,lib/libtlp.map \
              $(if $(sanitize),,-Wl,-z,defs)
MPI_SOFLAGS = -shared -Wl,-soname,libtlp_mpi.so.$(ABI) -Wl,--as-needed \
              -Wl,--version-script,lib/mpi/libtlp_mpi.map \
              $(if $(sanitize),,-Wl,-z,defs)

CUDA_SOFLAGS = -Wl,-soname,libtlp_cuda.so.$(ABI) -Wl,--as-needed \
               -Wl,--version-script,cuda/libtlp_cuda.map

# Instruction sets are chosen at run time, so only their own files get flags.
ifneq ($(filter x86_64% i386% i486% i586% i686%,$(shell $(CC) -dumpmachine)),)
AVX2_FLAGS   := -mavx2 -mfma -mf16c
AVX512_FLAGS := $(AVX2_FLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl \
                -mavx512vnni -mavx512bf16
SHANI_FLAGS  := -msha -msse4.1
AMX_FLAGS    := $(AVX512_FLAGS) -mamx-tile -mamx-int8 -mamx-bf16
endif

# ==== files =================================================================

MPI_SRC     := $(wildcard lib/mpi/*.c)
LIB_SRC     := $(filter-out $(MPI_SRC),$(wildcard lib/*/*.c))
TOOL_SRC    := $(filter-out $(if $(has_serve),src/serve_absent.c, \
               src/cmd_serve.c $(filter-out src/serve_absent.c, \
               $(wildcard src/serve_*.c))),$(wildcard src/*.c))
SUPPORT_SRC := $(wildcard test/support/*.c)
TEST_SRC    := $(wildcard test/test_*.c)
TEST_CXX_SRC := $(wildcard test/test_*.cc)
FUZZ_SRC    := $(wildcard test/fuzz/fuzz_*.c)
RANK_SRC    := $(wildcard test/mpi/*.c)
CUDA_SRC    := $(wildcard cuda/*.cu)
EXAMPLE_SRC := $(wildcard examples/*.c examples/*.cc)

objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB_OBJ  := $(call objects,$(LIB_SRC))
MPI_OBJ  := $(call objects,$(MPI_SRC))
TOOL_OBJ := $(call objects,$(TOOL_SRC)) \
            $(if $(has_serve),$(BUILD)/src/page_text.o)
SUPPORT_OBJ := $(call objects,$(SUPPORT_SRC))
RUNNER      := $(if $(call on,TSAN),$(BUILD)/test/plain/plain_runner.o)
CUDA_OBJ := $(CUDA_SRC:%.cu=$(BUILD)/%.o)
EMU_OBJ  := $(patsubst %.cc,$(BUILD)/%.o,$(wildcard test/cuda/emu/*.cc))
EMU_CUDA_OBJ := $(CUDA_SRC:%.cu=$(BUILD)/emu/%.o)
# TSan does not know the emulation's fibers.
TESTS    := $(filter-out $(if $(call on,TSAN),$(BUILD)/test/test_cuda%) \
            $(if $(has_serve),,$(BUILD)/test/test_tool_serve%), \
            $(TEST_SRC:%.c=$(BUILD)/%) $(TEST_CXX_SRC:%.cc=$(BUILD)/%))
HOSTS    := $(addprefix $(BUILD)/test/hosts/,delay probe hosts.sh rsh.sh)
FUZZERS  := $(FUZZ_SRC:%.c=$(BUILD)/%)
EXAMPLES := $(addprefix $(BUILD)/,$(basename $(EXAMPLE_SRC)))
HEADERS  := $(addprefix include/,tlp.h tlp_tune.h tlp_eval.h)
HPP      := $(wildcard include/*.hpp include/tlp/*.hpp)
# Programs of frozen ABIs: test/abi/v1 has the headers of ABI 1, and so on.
ABI_CLIENTS := $(patsubst %.c,$(BUILD)/%,$(wildcard test/abi/v*/client.c))
BAD_PLUGINS := $(patsubst %.c,$(BUILD)/%.so,$(wildcard test/plugins/*.c)) \
               $(BUILD)/test/plugins/needs_absent.so
RANK_PROGRAMS := $(if $(has_mpi),$(RANK_SRC:%.c=$(BUILD)/%))
MAN3     := $(wildcard docs/man/*.3)
C_FILES   = $(shell git ls-files '*.c' '*.h' '*.cc' '*.hpp' '*.cu' '*.cuh')

STATIC := $(BUILD)/libtlp.a
SHARED := $(BUILD)/libtlp.so.$(VERSION)
TOOL   := $(BUILD)/tlp
PLUGIN := $(if $(has_mpi),$(BUILD)/libtlp_mpi.so.$(VERSION))
CUDA_PLUGIN := $(BUILD)/libtlp_cuda.so.$(VERSION)
# Built only where it is asked for.
cuda_plugin := $(if $(call on,CUDA),$(CUDA_PLUGIN))
EMU_PLUGIN  := $(BUILD)/emu/libtlp_cuda.so.$(VERSION)

Q   = $(if $(call on,V),,@)
say = $(if $(call on,V),,@printf '  %-6s %s\n' $(1) $(2);)

# ==== build =================================================================

all: shared static tool plugin $(cuda_plugin) ## library and tool

shared: $(SHARED)   ## libtlp.so
static: $(STATIC)   ## libtlp.a
tool: $(TOOL)       ## build/tlp
plugin: $(PLUGIN)   ## libtlp_mpi.so, where there is an mpicc
examples: $(EXAMPLES) ## the programs in examples/
cuda: $(CUDA_PLUGIN) ## libtlp_cuda.so, with nvcc
cuda-emulated: $(EMU_PLUGIN) ## the same for a GPU that tests emulate

$(STATIC): $(LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ) lib/libtlp.map
	$(call say,LD,$@)$(CC) $(TLP_SOFLAGS) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ \
	    $(LIB_OBJ) $(TLP_LIBS) $(LDLIBS)
	@$(LN_S) $(@F) $(BUILD)/libtlp.so.$(ABI)
	@$(LN_S) libtlp.so.$(ABI) $(BUILD)/libtlp.so

$(BUILD)/libtlp_mpi.so.$(VERSION): $(MPI_OBJ) lib/mpi/libtlp_mpi.map
	$(call say,LD,$@)$(CC) $(MPI_SOFLAGS) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ \
	    $(MPI_OBJ) $(MPI_LIBS) $(LDLIBS)
	@$(LN_S) $(@F) $(BUILD)/libtlp_mpi.so.$(ABI)
	@$(LN_S) libtlp_mpi.so.$(ABI) $(BUILD)/libtlp_mpi.so

# The runtime is linked statically and looks for the driver itself, so that the
# plug-in can be loaded, and say so, where there is none.
$(CUDA_PLUGIN): $(CUDA_OBJ) cuda/libtlp_cuda.map
	$(call say,LD,$@)$(NVCC) -shared -cudart static \
	    $(CUDA_SOFLAGS:-Wl$(comma)%=-Xlinker %) -o $@ $(CUDA_OBJ) \
	    -lcublasLt -ldl
	@$(LN_S) $(@F) $(@D)/libtlp_cuda.so.$(ABI)
	@$(LN_S) libtlp_cuda.so.$(ABI) $(@D)/libtlp_cuda.so

$(EMU_PLUGIN): $(EMU_CUDA_OBJ) $(EMU_OBJ) cuda/libtlp_cuda.map
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CXX) -shared $(CUDA_SOFLAGS) $(TLP_LDFLAGS) $(LDFLAGS) \
	    -o $@ $(EMU_CUDA_OBJ) $(EMU_OBJ) -ldl $(LDLIBS)
	@$(LN_S) $(@F) $(@D)/libtlp_cuda.so.$(ABI)
	@$(LN_S) libtlp_cuda.so.$(ABI) $(@D)/libtlp_cuda.so

# The tool carries the library in itself: it runs from any folder, before and
# after installing, without a run path.
$(TOOL): $(TOOL_OBJ) $(STATIC) $(BUILD)/with-serve
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $(TOOL_OBJ) \
	    $(STATIC) $(SERVE_LIBS) $(TLP_LIBS) $(LDLIBS)

# The tool is linked anew when the server comes or goes.
$(BUILD)/with-serve: FORCE
	@mkdir -p $(@D)
	@echo '$(has_serve)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/src/%.o: private TLP_CFLAGS += $(DEP_CFLAGS) $(SERVE_CFLAGS)
$(BUILD)/lib/%.o $(BUILD)/test/%.o: private TLP_CFLAGS += $(LIB_CFLAGS)
$(BUILD)/test/%.o: private TLP_CFLAGS += $(TEST_CFLAGS)
$(BUILD)/lib/%.o: private TLP_CFLAGS += $(RELEASE_CFLAGS)
$(BUILD)/lib/mpi/%.o: private TLP_CFLAGS += $(MPI_CFLAGS)
$(BUILD)/test/mpi/%.o: private TLP_CFLAGS += $(MPI_CFLAGS)
$(BUILD)/lib/backend/%_avx2.o: private TLP_CFLAGS += $(AVX2_FLAGS) $(no_probe)
$(BUILD)/lib/backend/%_avx512.o: private TLP_CFLAGS += $(AVX512_FLAGS) \
                                                       $(no_probe)
$(BUILD)/lib/train/%_avx2.o: private TLP_CFLAGS += $(AVX2_FLAGS) $(no_probe)
$(BUILD)/lib/train/%_avx512.o: private TLP_CFLAGS += $(AVX512_FLAGS) $(no_probe)
$(BUILD)/lib/backend/%_amx.o: private TLP_CFLAGS += $(AMX_FLAGS) $(no_probe)
$(BUILD)/lib/base/%_shani.o: private TLP_CFLAGS += $(SHANI_FLAGS) $(no_probe)
# No parser reaches the kernels, and clang takes minutes to instrument them.
no_probe = $(if $(call on,FUZZ),-fno-sanitize=all)

compile_cxx = $(CXX) $(TLP_CXXFLAGS) $(CPPFLAGS) $(CXXFLAGS) $(DEBUG_CFLAGS)
compile_c = $(CC) $(TLP_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(DEBUG_CFLAGS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(compile_c) -MMD -MP -c -o $@ $<

# The server's page as an array of bytes.
$(BUILD)/src/page_text.c: src/page.html
	@mkdir -p $(@D)
	$(Q){ echo '#include <stddef.h>'; \
	    echo 'extern const unsigned char serve_page_text[];'; \
	    echo 'extern const size_t serve_page_size;'; \
	    echo 'const unsigned char serve_page_text[] = {'; \
	    od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
	    echo '};'; \
	    echo 'const size_t serve_page_size = sizeof serve_page_text;'; } >$@

$(BUILD)/src/page_text.o: $(BUILD)/src/page_text.c $(BUILD)/flags
	$(call say,CC,$<)$(compile_c) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,NVCC,$<)$(NVCC) $(NVCC_COMPILE) $(NVCCFLAGS) -MMD -MP \
	    -c -o $@ $<

$(BUILD)/emu/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(compile_cxx) -MMD -MP -x c++ -c -o $@ $<

$(BUILD)/test/%.o: test/%.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(compile_cxx) -Itest -MMD -MP -c -o $@ $<

# Changed flags rebuild everything that was compiled with the old ones.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ',,$(compile_c))' \
	    '$(subst ',,$(compile_cxx))' '$(subst ',,$(NVCC_COMPILE))' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Examples are compiled as a user of the installed library would.
USER_CFLAGS  = -Wall -Wextra -Wpedantic $(if $(call on,WERROR),-Werror) \
               $(sanitize) -Iinclude
USER_LDFLAGS = $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/..' \
               -Wl,--disable-new-dtags

$(BUILD)/examples/%: examples/%.c $(HEADERS) $(SHARED)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L $(USER_CFLAGS) \
	    $(CPPFLAGS) $(CFLAGS) $(USER_LDFLAGS) -o $@ $< -ltlp -lm -ldl

$(BUILD)/examples/%: examples/%.cc $(HEADERS) $(HPP) $(SHARED)
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++17 -pthread $(USER_CFLAGS) $(CPPFLAGS) $(CXXFLAGS) \
	    $(USER_LDFLAGS) -o $@ $< -ltlp

# A client sees the headers of its own folder, and today's library.
$(BUILD)/test/abi/%/client: test/abi/%/client.c $(SHARED) \
    $(wildcard test/abi/v*/*.h)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L -Itest/abi/$* \
	    $(filter-out -Iinclude,$(USER_CFLAGS)) $(CPPFLAGS) $(CFLAGS) \
	    $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/../../..' \
	    -Wl,--disable-new-dtags -o $@ $< -ltlp

# ==== tests =================================================================
# Each test/test_*.c is one Criterion program.

$(BUILD)/test/%: $(BUILD)/test/%.o $(SUPPORT_OBJ) $(RUNNER) $(STATIC)
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ \
	    $(if $(RUNNER),,-lcriterion) $(TLP_LIBS) $(LDLIBS)

# C++ tests look into the emulated plug-in, so they have its parts.
$(TEST_CXX_SRC:%.cc=$(BUILD)/%): $(BUILD)/%: $(BUILD)/%.o $(EMU_CUDA_OBJ) \
    $(EMU_OBJ) $(SUPPORT_OBJ) $(STATIC)
	$(call say,LD,$@)$(CXX) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ -lcriterion \
	    $(TLP_LIBS) $(LDLIBS)

# Stands for NCCL.
$(BUILD)/test/cuda/libnccl_stub.so: $(BUILD)/test/cuda/nccl_stub.o
	$(call say,LD,$@)$(CXX) -shared $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^

# Programs that a test runs under mpirun.
$(BUILD)/test/mpi/%: $(BUILD)/test/mpi/%.o \
    $(BUILD)/test/support/host_locale.o $(BUILD)/test/support.a $(STATIC)
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ $(TLP_LIBS) \
	    -Wl,--as-needed $(MPI_LIBS) $(LDLIBS)

# Looks into the plug-in, so it has its own.
$(BUILD)/test/mpi/liveness_process: $(MPI_OBJ)

# Renders templates for test/check-jinja.py.
$(BUILD)/test/jinja/render: $(BUILD)/test/jinja/render.o \
    $(BUILD)/test/support.a $(STATIC)
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ $(TLP_LIBS) \
	    $(LDLIBS)

# A host that loads the library itself, and links nothing that it needs.
$(BUILD)/test/host/%: test/host/%.c $(HEADERS) $(SHARED)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu11 $(USER_CFLAGS) -pthread $(CPPFLAGS) \
	    $(CFLAGS) $(LDFLAGS) -o $@ $< -ldl

# A C++ host that links the library as a user's program does.
$(BUILD)/test/host/%: test/host/%.cc $(HEADERS) $(SHARED)
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++11 $(USER_CFLAGS) $(CPPFLAGS) $(CXXFLAGS) \
	    $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/../..' \
	    -Wl,--disable-new-dtags -o $@ $< -ltlp

# The C++ interface: a program for each compiler, standard and way of errors.
# clang cannot link a library with the sanitizers of gcc.
has_clangxx := $(if $(sanitize),,$(shell command -v $(CLANG)++))
CXX_VARIANTS := $(foreach c,own $(if $(has_clangxx),clang),$(foreach f,17 20 \
                17-results 20-results,$(c)-$(f)))
CXX_PROGRAMS := $(CXX_VARIANTS:%=$(BUILD)/test/cxx/%/interface)
CXX_TEST_SRC := $(wildcard test/cxx/*.cc)
variant_cxx   = $(if $(filter clang%,$(1)),$(CLANG)++,$(CXX)) -std=c++$(word 2,\
                $(subst -, ,$(1))) $(if $(filter %-results,$(1)),-fno-exceptions)
$(BUILD)/test/cxx/%/interface: $(CXX_TEST_SRC) $(wildcard test/cxx/*.hpp) \
    $(HEADERS) $(HPP) | $(SHARED)
	@mkdir -p $(@D)
	$(call say,CXX,$@)$(call variant_cxx,$*) $(USER_CFLAGS) -Wshadow \
	    -Wconversion -Wsign-conversion -pthread $(CPPFLAGS) $(CXXFLAGS) \
	    $(LDFLAGS) -L$(BUILD) -Wl,-rpath,'$$ORIGIN/../../..' \
	    -Wl,--disable-new-dtags -o $@ $(CXX_TEST_SRC) -ltlp

# Plug-ins that must be refused, or that only list devices.
$(BUILD)/test/plugins/%.so: $(BUILD)/test/plugins/%.o
	$(call say,LD,$@)$(CC) -shared $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^

# Needs a library that was there only to link with.
$(BUILD)/test/plugins/needs_absent.so: $(BUILD)/test/plugins/no_entry.o
	$(call say,LD,$@)$(CC) -shared $(TLP_LDFLAGS) -Wl,-soname,libabsent.so.1 \
	    -o $@.absent $^ && $(CC) -shared $(TLP_LDFLAGS) $(LDFLAGS) \
	    -Wl,--no-as-needed -o $@ $^ $@.absent && rm $@.absent

# These run the programs beside them.
$(addprefix $(BUILD)/test/test_,plugin device tool_device examples): | \
    $(BAD_PLUGINS) $(PLUGIN)
$(addprefix $(BUILD)/test/test_,memory tool_device examples real_smollm2): | \
    $(if $(call on,TSAN),,$(EMU_PLUGIN))
$(filter $(BUILD)/test/test_mpi%,$(TESTS)): | $(RANK_PROGRAMS) $(PLUGIN)
$(filter $(BUILD)/test/test_tool%,$(TESTS)): | $(TOOL) $(PLUGIN)
$(filter $(BUILD)/test/test_cuda%,$(TESTS)): | $(EMU_PLUGIN)
$(BUILD)/test/test_cuda_nccl: | $(BUILD)/test/cuda/libnccl_stub.so
$(BUILD)/test/test_examples: | $(TOOL) $(EXAMPLES)
$(BUILD)/test/test_abi_client: | $(ABI_CLIENTS)
$(BUILD)/test/test_unload: | $(BUILD)/test/host/unload
$(BUILD)/test/test_host: | $(BUILD)/test/host/throws
$(BUILD)/test/test_cxx: | $(CXX_PROGRAMS)
$(BUILD)/test/test_hosts: | $(TOOL) $(PLUGIN) $(HOSTS)
$(BUILD)/test/test_mpi_cut: | $(HOSTS)

# Two hosts on one machine: scripts and programs side by side.
$(BUILD)/test/hosts/%: $(BUILD)/test/hosts/%.o $(BUILD)/test/hosts/netns.o
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/test/hosts/%.sh: test/hosts/%.sh
	@mkdir -p $(@D)
	$(call say,CP,$@)cp $< $@

# Only in check-all: programs that take long and prove what shorter ones touch.
# All other programs are in check too.
SLOW_TESTS := cuda_comm cuda_comm_norm cuda_models cxx examples hosts invariance mpi_cut \
              mpi_faults mpi_peer mpi_transport real_folder real_smollm2 \
              tool_adjust tool_mpi
# Measure time or bandwidth, or watch peers against a clock: run alone.
ALONE_TESTS := comm_end examples hosts mpi_cut mpi_faults mpi_peer \
               mpi_transport predict tool_bandwidth tool_interrupt \
               tool_measure tool_mpi tool_serve_life tool_serve_mpi wait
tests_named = $(addprefix $(BUILD)/test/test_,$(1))
FAST_TESTS := $(filter-out $(call tests_named,$(SLOW_TESTS)),$(TESTS))

check: ## set up, fetch the model, run what a change should pass at once
	@scripts/setup.sh check
	@$(MAKE) -s --no-print-directory all examples $(FAST_TESTS)
	@$(MAKE) --no-print-directory check-layers check-house check-abi \
	    check-docs check-jinja check-install
	@$(MAKE) --no-print-directory run-tests RUN='$(FAST_TESTS)'

check-all: ## set up, fetch the model, run every check and every test
	@scripts/setup.sh check
	@$(MAKE) -s --no-print-directory all examples $(TESTS)
	@$(MAKE) --no-print-directory check-layers check-house check-abi \
	    check-docs check-jinja check-install check-compilers check-python \
	    check-servers check-rust
	@$(MAKE) --no-print-directory check-programs
	@$(MAKE) --no-print-directory check-locale

check-programs: $(TESTS) ## all test programs, and no other check
	@$(MAKE) --no-print-directory run-tests RUN='$(TESTS)'

# JOBS: how many programs run at a time, one for each core unless it is given.
# The programs get no job slots of make.
run-tests:
	@BUILD=$(BUILD) MAKEFLAGS= ALONE='$(call tests_named,$(ALONE_TESTS))' \
	    scripts/run-tests.sh $(RUN)

check-asan: ## the test programs under ASan and UBSan
	@$(MAKE) --no-print-directory ASAN=1 check-programs

# A locale with a decimal comma, which host_locale.c sets in every test program.
LOCALE := de_DE.UTF-8
check-locale: $(TESTS) ## all test programs, as hosts with a decimal comma
	@mkdir -p $(BUILD)/locale
	@test -d $(BUILD)/locale/$(LOCALE) || localedef \
	    -i $(basename $(LOCALE)) -f $(subst .,,$(suffix $(LOCALE))) \
	    $(BUILD)/locale/$(LOCALE)
	@TLP_TEST_LOCALE=$(LOCALE) LOCPATH='$(abspath $(BUILD)/locale)' \
	    $(MAKE) --no-print-directory check-programs

check-tsan: ## the test programs under TSan, small models only
	@WITHOUT_MODEL=1 $(MAKE) --no-print-directory TSAN=1 check-programs

check-abi: $(SHARED) $(PLUGIN) $(cuda_plugin) ## exported names, imports, headers
	@CC='$(CC)' CXX='$(CXX)' MPI_CFLAGS='$(if $(PLUGIN),$(MPI_CFLAGS))' \
	    test/check-abi.sh $(SHARED) '$(PLUGIN)' '$(cuda_plugin)'
	@CC='$(CC)' $(PYTHON) test/check-headers.py \
	    $(addprefix --frozen ,$(wildcard test/abi/v$(ABI))) $(SHARED)

check-jinja: $(BUILD)/test/jinja/render ## chat templates beside Python's jinja2
	@$(PYTHON) test/check-jinja.py $<

check-docs: man tool ## manual pages and HTML reference of every function
	@test/check-docs.sh $(MAN_PAGES) $(BUILD)/tlp $(DOXYGEN)

check-layers: all ## what each folder may include and call
	@$(PYTHON) scripts/check-layers.py $(BUILD)

check-house: ## lengths, names, formatting, prose
	@CLANG_FORMAT='$(CLANG_FORMAT)' $(PYTHON) scripts/check-house.py

# The library and the tool without warnings: clang, and gcc without optimising.
check-compilers: ## build with clang, and with CFLAGS=-O0, without warnings
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/compilers/O0 CFLAGS=-O0 \
	    CXXFLAGS=-O0 WERROR=1 all examples
	$(if $(shell command -v $(CLANG)),@$(MAKE) --no-print-directory \
	    BUILD=$(BUILD)/compilers/clang CC=$(CLANG) CXX=$(CLANG)++ WERROR=1 \
	    all examples,@echo 'check-compilers: no $(CLANG): gcc alone')

check-install: all ## install, use through pkg-config, uninstall
	@MAKE='$(MAKE)' CC='$(CC)' CXX='$(CXX)' BUILD='$(BUILD)' \
	    test/check-install.sh

check-python: $(SHARED) $(PLUGIN) ## the Python package, in an environment of its own
	@scripts/check-python.sh $(abspath $(BUILD))/python $(SHARED)

check-servers: $(SHARED) $(TOOL) ## the servers in examples/servers, with requests
	@scripts/check-servers.sh $(BUILD)

check-rust: $(SHARED) ## the Rust crates: format, lints, tests, documents
	@scripts/check-rust.sh $(abspath $(BUILD))/rust $(SHARED)

fuzz: ## run every fuzz target for FUZZ_SECONDS
	@$(MAKE) --no-print-directory FUZZ=1 CC=$(CLANG) run-fuzzers

run-fuzzers: $(FUZZERS)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/run-fuzzers.sh $(FUZZERS)

# An archive, so that a fuzz target takes no support that wants Criterion.
$(BUILD)/test/support.a: $(SUPPORT_OBJ)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/test/fuzz/%: $(BUILD)/test/fuzz/%.o $(BUILD)/test/support.a $(STATIC)
	$(call say,LD,$@)$(CC) $(TLP_LDFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ \
	    $^ $(TLP_LIBS) $(LDLIBS)

bench: all ## tokens/s of serial and layer-parallel plans
	@BUILD=$(BUILD) bench/bench.sh

# PYTHON: one that has llama-cpp-python; BENCH_CPU: more options of the script.
bench-cpu: all $(BUILD)/test/bench/bench_peak ## libtlp beside llama.cpp
	@mkdir -p $(BUILD)/bench-cpu
	@$(PYTHON) bench/bench-cpu.py "$${MODEL:-$$(scripts/fetch-model.sh)}" \
	    --build $(BUILD) --types Q4_1,Q4_0,Q8_0,Q4_K_M \
	    --csv $(BUILD)/bench/engines.csv --svg $(BUILD)/bench-cpu/cpu.svg \
	    $(BENCH_CPU)

has_nvcc = $(shell command -v $(NVCC))
bench-gpu: tool ## the CUDA backend on this machine's GPUs, checked and timed
	$(if $(has_nvcc),@$(MAKE) --no-print-directory cuda \
	    $(BUILD)/test/bench/bench_device $(BUILD)/test/bench/bench_allreduce \
	    $(addprefix $(BUILD)/test/test_cuda_,ops products attention models))
	@BUILD=$(BUILD) bench/bench-gpu.py

$(BUILD)/test/bench/bench_device: $(BUILD)/test/bench/bench_device.o
	$(call say,LD,$@)$(NVCC) -cudart static -o $@ $^ -lcublasLt

bench-busy: $(BUILD)/test/bench/bench_busy ## threads beside a busy host
	@BUILD=$(BUILD) bench/bench-busy.sh

# MODEL, GRAMMAR (GBNF, or a schema in a .json file), TEXT: files
bench-grammar: $(BUILD)/test/bench/bench_grammar ## time of masks of tokens
	@$< '$(MODEL)' '$(GRAMMAR)' '$(TEXT)'

bench-hosts: all $(HOSTS) ## plans on two hosts, over links of known delay
	@BUILD=$(BUILD) bench/bench-hosts.sh

demo: ## set up, build, and compare serial with a plan over a slow link
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) scripts/demo.sh

# ==== documents, formatting =================================================

# The folder is made anew, so that no page of an older header stays.
MAN_PAGES := $(BUILD)/man
man: $(MAN_PAGES)/made ## manual pages of every function, in build/man
$(MAN_PAGES)/made: $(HEADERS) scripts/make-man.py
	$(call say,MAN,$(@D))rm -rf $(@D) && \
	    $(PYTHON) scripts/make-man.py $(@D) $(VERSION) $(HEADERS) && touch $@

docs: man ## manual pages, and the HTML reference in build/docs
	$(Q)mkdir -p $(BUILD)/docs
	$(Q)BUILD=$(BUILD) VERSION=$(VERSION) $(DOXYGEN) docs/Doxyfile

format: ## rewrite sources with clang-format
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)

format-check: ## fail if clang-format would change a source
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

compile_commands.json: FORCE ## for clangd and clang-tidy
	$(Q)AVX2_FLAGS='$(AVX2_FLAGS)' AVX512_FLAGS='$(AVX512_FLAGS)' \
	    AMX_FLAGS='$(AMX_FLAGS)' SHANI_FLAGS='$(SHANI_FLAGS)' \
	    MPI_FLAGS='$(if $(has_mpi),$(MPI_CFLAGS))' \
	    scripts/compile-commands.sh '$(compile_c)' \
	    '$(LIB_CFLAGS)' $(LIB_SRC) $(TOOL_SRC) $(SUPPORT_SRC) $(TEST_SRC) \
	    $(if $(has_mpi),$(MPI_SRC) $(RANK_SRC)) >$@

dist: ## source archive of the last commit
	$(Q)mkdir -p $(BUILD)
	$(Q)git archive --prefix=libtlp-$(VERSION)/ \
	    -o $(BUILD)/libtlp-$(VERSION).tar.gz HEAD

# ==== install ===============================================================
# Paths may hold blanks.  Folders and files are readable by all, whatever the
# umask is.

DEST = $(DESTDIR)
install_dir  = $(INSTALL) -d -m 755 $(foreach d,$(1),'$(DEST)$($(d))$(2)')
install_file = $(INSTALL) -m $(1) $(2) '$(DEST)$(3)'

install: install-shared install-static install-headers install-pc \
         install-plugin install-tool \
         install-man ## everything, under DESTDIR and PREFIX

# install_so FILE NAME: with the links that a linker and a loader look for.
define install_so
	$(call install_dir,LIBDIR)
	$(call install_file,755,$(1),$(LIBDIR))
	$(LN_S) $(notdir $(1)) '$(DEST)$(LIBDIR)/$(2).$(ABI)'
	$(LN_S) $(2).$(ABI) '$(DEST)$(LIBDIR)/$(2)'
endef

install-shared: $(SHARED)
	$(call install_so,$(SHARED),libtlp.so)

install-plugin: $(PLUGIN) $(cuda_plugin)
	$(if $(PLUGIN),$(call install_so,$(PLUGIN),libtlp_mpi.so))
	$(if $(cuda_plugin),$(call install_so,$(cuda_plugin),libtlp_cuda.so))

install-static: $(STATIC)
	$(call install_dir,LIBDIR)
	$(call install_file,644,$(STATIC),$(LIBDIR))

install-headers:
	$(call install_dir,INCLUDEDIR)
	$(call install_dir,INCLUDEDIR,/tlp)
	$(call install_file,644,$(wildcard include/*.h include/*.hpp),$(strip \
	    $(INCLUDEDIR)))
	$(call install_file,644,$(wildcard include/tlp/*.hpp),$(INCLUDEDIR)/tlp)

# The private libraries stand in tlp.pc as flags, not as packages: a program
# that links with libtlp.so needs none of their -dev packages.
under_prefix = $(subst $(PREFIX)/,$${prefix}/,$(1))
# As the replacement of a sed command, inside single quotes of the shell.
sed_text = $(subst ','\'',$(subst |,\|,$(subst &,\&,$(subst \,\\,$(1)))))
install-pc: $(BUILD)/flags
	$(call install_dir,PKGCONFIGDIR)
	sed -e 's|@PREFIX@|$(call sed_text,$(PREFIX))|' \
	    -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBDIR@|$(call sed_text,$(call under_prefix,$(LIBDIR)))|' \
	    -e 's|@INCLUDEDIR@|$(call sed_text,$(call \
	        under_prefix,$(INCLUDEDIR)))|' \
	    -e 's|@PRIVATE_LIBS@|$(call sed_text,$(strip $(DEP_LIBS)))|' \
	    pkgconfig/libtlp.pc.in >$(BUILD)/tlp.pc
	$(call install_file,644,$(BUILD)/tlp.pc,$(PKGCONFIGDIR))

install-tool: $(TOOL)
	$(call install_dir,BINDIR)
	$(call install_file,755,$(TOOL),$(BINDIR)/$(TOOL_NAME))
	$(if $(filter tlp,$(TOOL_NAME)),$(if $(filter /usr /usr/,$(PREFIX)),@echo \
	    'install: Debian and others have a package tlp with a command of' \
	    'this name: choose another one with TOOL_NAME=' >&2))

# The pages of functions need Python; without it, libtlp.3 stands alone.
has_python = $(shell command -v $(PYTHON))
install-man: $(if $(has_python),man)
	$(call install_dir,MANDIR,/man1)
	$(call install_dir,MANDIR,/man3)
	sed -e 's/^\.TH TLP /.TH $(TOOL_NAME) /' \
	    -e 's/^tlp /$(TOOL_NAME) /' -e 's/^\.B tlp/.B $(TOOL_NAME)/' \
	    -e 's/none tlp /none $(TOOL_NAME) /' \
	    docs/man/tlp.1 >$(BUILD)/tool.1
	$(call install_file,644,$(BUILD)/tool.1,$(MANDIR)/man1/$(TOOL_NAME).1)
	$(call install_file,644,$(MAN3),$(MANDIR)/man3)
	$(if $(has_python),$(call install_file,644,$(MAN_PAGES)/*.3,$(strip \
	    $(MANDIR))/man3))

uninstall: ## remove what install put there
	rm -f '$(DEST)$(LIBDIR)/'libtlp.a '$(DEST)$(LIBDIR)/'libtlp.so* \
	    '$(DEST)$(LIBDIR)/'libtlp_mpi.so* \
	    '$(DEST)$(LIBDIR)/'libtlp_cuda.so* \
	    '$(DEST)$(PKGCONFIGDIR)/tlp.pc' '$(DEST)$(BINDIR)/$(TOOL_NAME)' \
	    '$(DEST)$(MANDIR)/man1/$(TOOL_NAME).1' \
	    $(foreach h,$(patsubst include/%,%,$(wildcard include/*.h) $(HPP)),\
	        '$(DEST)$(INCLUDEDIR)/$(h)') \
	    $(foreach m,$(notdir $(MAN3)),'$(DEST)$(MANDIR)/man3/$(m)') \
	    '$(DEST)$(MANDIR)/man3/'tlp_*.3
	@rmdir '$(DEST)$(INCLUDEDIR)/tlp' 2>/dev/null || true

clean: ## remove the build folder
	rm -rf $(BUILD)

help: ## this text
	@echo 'Targets:'
	@sed -n -e 's/^\([a-z][a-z_.-]*\):.*## /\1: /p' \
	    -e 's/^ .*install-man ## /install: /p' Makefile | \
	    awk -F': ' '{ printf "  %-22s%s\n", $$1, $$2 }'
	@echo 'Switches, NAME=1:'
	@sed -n 's/^\([A-Z]*\) *?= 0 # /\1: /p' Makefile | \
	    awk -F': ' '{ printf "  %-22s%s\n", $$1, $$2 }'
	@echo 'Variables:'
	@echo '  CC CXX AR NVCC CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LDLIBS NVCCFLAGS'
	@echo '  MPI MPICC SERVE'
	@echo '  BUILD PREFIX DESTDIR BINDIR LIBDIR INCLUDEDIR MANDIR PKGCONFIGDIR'
	@echo '  TOOL_NAME: the installed tool is called so; tlp unless told'
	@echo '  PKG_CONFIG CLANG CLANG_FORMAT DOXYGEN INSTALL FUZZ_SECONDS PYTHON'
	@echo '  BENCH_CPU'

FORCE:
.PHONY: all shared static tool plugin examples cuda cuda-emulated check \
    check-all check-programs run-tests check-asan check-tsan check-abi \
    check-docs check-jinja check-layers check-house check-compilers check-install \
    check-python check-rust check-servers fuzz \
    run-fuzzers bench bench-busy bench-cpu bench-gpu bench-grammar bench-hosts \
    demo docs man format format-check dist install \
    install-shared install-static install-headers install-pc install-plugin \
    install-tool install-man uninstall clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:
-include $(wildcard $(addsuffix /*.d,$(BUILD)/* $(BUILD)/*/* $(BUILD)/*/*/*))
