// An implicit Vulkan layer that lets a headless Chromium draw with a driver that lacks VK_EXT_headless_surface, which
// ANGLE asks for and then never uses: the manifest announces it, and this takes all that is about surfaces off what the
// driver is asked for.
//
//   gcc -O1 -shared -fPIC headless-surface.c -o DIR/vulkan/implicit_layer.d/libheadless-surface.so   (headers: libvulkan-dev)
//   cp headless-surface.json DIR/vulkan/implicit_layer.d/; XDG_DATA_HOME=DIR chromium …
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

enum { INSTANCES = 64, EXTENSIONS = 128 };

static struct {
  void *key;
  PFN_vkGetInstanceProcAddr next;
} instances[INSTANCES];

static void *keyOf(void *dispatchable) { return *(void **)dispatchable; }

static int isOfSurfaces(const char *extension) { return strstr(extension, "surface") || strstr(extension, "swapchain"); }

static VKAPI_ATTR VkResult VKAPI_CALL createInstance(const VkInstanceCreateInfo *asked,
                                                     const VkAllocationCallbacks *allocator, VkInstance *instance) {
  VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)asked->pNext;
  while (link &&
         !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
    link = (VkLayerInstanceCreateInfo *)link->pNext;
  if (!link || asked->enabledExtensionCount > EXTENSIONS) return VK_ERROR_INITIALIZATION_FAILED;
  PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;

  const char *names[EXTENSIONS];
  VkInstanceCreateInfo info = *asked;
  info.ppEnabledExtensionNames = names;
  info.enabledExtensionCount = 0;
  for (uint32_t i = 0; i < asked->enabledExtensionCount; i++)
    if (!isOfSurfaces(asked->ppEnabledExtensionNames[i]))
      names[info.enabledExtensionCount++] = asked->ppEnabledExtensionNames[i];
  VkResult result = ((PFN_vkCreateInstance)next(NULL, "vkCreateInstance"))(&info, allocator, instance);
  if (result != VK_SUCCESS) return result;
  int i = 0;
  while (i < INSTANCES - 1 && instances[i].key && instances[i].key != keyOf(*instance)) i++;
  instances[i].key = keyOf(*instance);
  instances[i].next = next;
  return VK_SUCCESS;
}

__attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
headlessSurface(VkInstance instance, const char *name) {
  if (strcmp(name, "vkCreateInstance") == 0) return (PFN_vkVoidFunction)createInstance;
  if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (PFN_vkVoidFunction)headlessSurface;
  for (int i = 0; instance && i < INSTANCES; i++)
    if (instances[i].key == keyOf(instance)) return instances[i].next(instance, name);
  return NULL;
}
